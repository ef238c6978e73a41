//! Logs, the export of spans, and the small HTTP listener that shows metrics and health.

mod readiness;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use futures_util::future::BoxFuture;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tracing_subscriber::{
    Layer, Registry, filter::Targets, fmt::MakeWriter, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::server::BoundedListener;
use crate::trace::export::{self, CollectorAddress, ExportError};
use crate::{Shutdown, error_text};
pub use readiness::DatabaseCheck;
use readiness::Readiness;

/// How often old samples of histograms are folded together.
const UPKEEP: Duration = Duration::from_secs(5);

/// Bounds of histograms named `…_seconds`.
const SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];

/// How a process tells what it does.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written, as in `RUST_LOG`, which wins over this.
    pub log_filter: String,
    /// Where `/metrics`, `/healthz` and `/readyz` are served.
    pub listen: SocketAddr,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Plain on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object for each line.
    Json,
    /// For people.
    #[serde(alias = "pretty")]
    Plain,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 9090));
        Self {
            log_format: LogFormat::Auto,
            log_filter: "info".to_owned(),
            listen,
        }
    }
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A subscriber or a recorder is there already: the process has called [`init`] twice.
    #[error("logs or metrics are set up already: {0}")]
    Again(String),
    /// The filter does not parse.
    #[error("log filter \"{0}\" does not parse; an example is \"info,bowline_db=debug\"")]
    Filter(String),
    /// Spans can not be exported as the environment wants it.
    #[error("{}", error_text(.0))]
    Export(#[source] ExportError),
    /// The address is not free.
    #[error("metrics and health can not be served on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// The metrics of a process, and whether it is ready. Clones share it.
#[derive(Clone, Debug)]
pub struct Telemetry {
    metrics: PrometheusHandle,
    readiness: Readiness,
}

/// Starts logging and counting, and the export of spans where the environment asks for it; once in a process, inside its
/// runtime.
///
/// # Errors
///
/// When the filter or the address of a collector does not parse, or the process was set up before.
#[expect(
    clippy::disallowed_methods,
    reason = "RUST_LOG is what programs in Rust are known by, and OTEL_… what all programs are"
)]
pub fn init(config: &TelemetryConfig) -> Result<Telemetry, TelemetryError> {
    let directives = std::env::var("RUST_LOG").unwrap_or_else(|_| config.log_filter.clone());
    let filter: Targets = directives
        .parse()
        .map_err(|_| TelemetryError::Filter(directives))?;
    let is_terminal = std::io::stderr().is_terminal();
    let logs = build_log_layer(config.log_format, is_terminal, std::io::stderr);
    let subscriber = tracing_subscriber::registry().with(logs).with(filter);
    let result = subscriber.try_init();
    result.map_err(|error| TelemetryError::Again(error.to_string()))?;
    let metrics = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(|error| TelemetryError::Again(error.to_string()))?;
    let collector = CollectorAddress::read(|name| std::env::var(name).ok());
    if let Some(collector) = collector.map_err(TelemetryError::Export)? {
        export::start(&collector).map_err(TelemetryError::Export)?;
    }
    Ok(Telemetry {
        metrics,
        readiness: Readiness::default(),
    })
}

/// Returns what writes log lines; coloured only where a person looks.
fn build_log_layer<W>(
    format: LogFormat,
    is_terminal: bool,
    writer: W,
) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let is_plain = match format {
        LogFormat::Auto => is_terminal,
        LogFormat::Plain => true,
        LogFormat::Json => false,
    };
    let logs = tracing_subscriber::fmt::layer().with_writer(writer);
    // A line names its spans with their fields: the request's id is among them.
    match is_plain {
        true => logs.compact().with_ansi(is_terminal).boxed(),
        false => {
            let json = logs.json().flatten_event(true);
            json.with_current_span(false).with_span_list(true).boxed()
        }
    }
}

/// Takes the address where `/metrics`, `/healthz` and `/readyz` are to be served.
///
/// # Errors
///
/// [`TelemetryError::Listen`] when it is not free.
pub fn listen_for_probes(address: SocketAddr) -> Result<TcpListener, TelemetryError> {
    crate::listen_tcp(address).map_err(|source| TelemetryError::Listen { address, source })
}

impl Telemetry {
    /// Says that the process serves: `/readyz` answers 200 until draining starts.
    pub fn mark_ready(&self) {
        self.readiness.begin();
    }

    /// Lets `/readyz` answer 200 only while the process's database answers, too.
    pub fn require_database(&self, check: DatabaseCheck) {
        self.readiness.require_database(check);
    }

    /// Serves `/metrics`, `/healthz` and `/readyz` until the end of the process, through draining.
    ///
    /// # Errors
    ///
    /// What the listener fails with.
    pub fn serve(
        self,
        listener: TcpListener,
        shutdown: Shutdown,
    ) -> BoxFuture<'static, std::io::Result<()>> {
        // Boxed: it is compiled here once, and not again in each crate that awaits it.
        Box::pin(async move {
            let router = Router::new()
                .route("/metrics", get(render_metrics))
                .route("/healthz", get(|| async { "ok\n" }))
                .route("/readyz", get(answer_readiness))
                .with_state(ProbeState {
                    telemetry: self.clone(),
                    shutdown: shutdown.clone(),
                });
            let upkeep = async {
                loop {
                    tokio::time::sleep(UPKEEP).await;
                    self.metrics.run_upkeep();
                }
            };
            tokio::select! {
                result = axum::serve(BoundedListener::new(listener), router).into_future() => result,
                () = upkeep => Ok(()),
                () = shutdown.wait_for_end() => Ok(()),
            }
        })
    }
}

/// What the pages show.
#[derive(Clone)]
struct ProbeState {
    telemetry: Telemetry,
    shutdown: Shutdown,
}

impl ProbeState {
    /// Returns why the process does not serve.
    async fn hindrance(&self) -> Option<&'static str> {
        if self.shutdown.is_draining() {
            return Some("draining\n");
        }
        self.telemetry.readiness.hindrance().await
    }
}

async fn render_metrics(State(state): State<ProbeState>) -> String {
    let is_ready = state.hindrance().await.is_none();
    metrics::gauge!("bowline_process_ready").set(f64::from(u8::from(is_ready)));
    state.telemetry.metrics.render()
}

async fn answer_readiness(State(state): State<ProbeState>) -> (StatusCode, &'static str) {
    match state.hindrance().await {
        None => (StatusCode::OK, "ready\n"),
        Some(text) => (StatusCode::SERVICE_UNAVAILABLE, text),
    }
}

#[cfg(test)]
mod tests;
