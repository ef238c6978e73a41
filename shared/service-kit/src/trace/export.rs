//! Sends spans to a collector, by OTLP over gRPC.
//!
//! ```text
//! a span ends ─▶ WaitingSpans: at most so many ─▶ batch, a thread of its own ─▶ WatchedExporter: one log line at a failure ─▶ collector
//! ```
//!
//! The settings are OpenTelemetry's own variables, since platforms set them for every program alike. Nothing is exported
//! without `OTEL_EXPORTER_OTLP_ENDPOINT`. Read here are the address, the authority and the protocol; the
//! library reads the headers, the sampler, and what describes the process. Nobody waits for a collector: spans that it does
//! not take are dropped and counted.

mod waiting;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use bowline_clock::random_bytes;
use opentelemetry::trace::{SpanId, TraceId, TracerProvider as _};
use opentelemetry_otlp::{ExporterBuildError, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, IdGenerator, SdkTracer, SdkTracerProvider,
};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use super::RequestId;
use crate::{AdminAddressError, error_text, trusted_authorities};
use waiting::{WaitingSpans, WatchedExporter};

/// How long a collector may take to connect, and to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the end of the process waits for the last spans.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// How many spans are sent together.
const BATCH: usize = 512;

static EXPORT: OnceLock<SpanExport> = OnceLock::new();

/// What spans are made by, and what ends the sending.
#[derive(Debug)]
struct SpanExport {
    tracer: SdkTracer,
    provider: SdkTracerProvider,
}

/// Where spans go, as OpenTelemetry's variables say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CollectorAddress {
    endpoint: String,
    authority: Option<PathBuf>,
}

/// Why spans can not be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The collector's address is none.
    #[error(
        "OTEL_EXPORTER_OTLP_ENDPOINT is no address of a collector: expected http://HOST:4317 or https://HOST:4317"
    )]
    Endpoint,
    /// Another protocol is asked for.
    #[error("OTEL_EXPORTER_OTLP_PROTOCOL is \"{0}\": spans are sent by \"grpc\" alone")]
    Protocol(String),
    /// The collector's authority can not be read.
    #[error("OTEL_EXPORTER_OTLP_CERTIFICATE: {}", error_text(.0))]
    Authority(#[source] AdminAddressError),
    /// TLS can not be spoken.
    #[error("the collector's TLS can not be set up: {}", error_text(.0))]
    Tls(#[source] tonic::transport::Error),
    /// The library does not take what it has read.
    #[error("spans can not be exported: {0}")]
    Library(#[source] ExporterBuildError),
}

impl CollectorAddress {
    /// Reads the variables; `None` when nothing is to be exported. A variable of traces wins over that of everything.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub(crate) fn read(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, ExportError> {
        let find = |name: &str| {
            let of_traces = variable(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"));
            let found = of_traces.or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}")));
            found.filter(|value| !value.is_empty())
        };
        let is_disabled =
            variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let Some(endpoint) = find("ENDPOINT").filter(|_| !is_disabled) else {
            return Ok(None);
        };
        match find("PROTOCOL") {
            Some(other) if other != "grpc" => return Err(ExportError::Protocol(other)),
            _ => {}
        }
        let is_http = ["http://", "https://"]
            .iter()
            .any(|scheme| endpoint.starts_with(scheme));
        // The address is logged: it has no place for a password.
        if !is_http || endpoint.contains('@') {
            return Err(ExportError::Endpoint);
        }
        Ok(Some(Self {
            endpoint,
            authority: find("CERTIFICATE").map(PathBuf::from),
        }))
    }

    /// Returns a channel that connects when there is something to send.
    fn channel(&self) -> Result<Channel, ExportError> {
        let endpoint = Endpoint::from_shared(self.endpoint.clone());
        let mut endpoint = endpoint
            .map_err(|_| ExportError::Endpoint)?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(ANSWER_TIMEOUT);
        if self.endpoint.starts_with("https://") {
            let roots =
                trusted_authorities(self.authority.as_deref()).map_err(ExportError::Authority)?;
            let tls = ClientTlsConfig::new()
                .trust_anchors(roots.roots)
                .timeout(CONNECT_TIMEOUT);
            endpoint = endpoint.tls_config(tls).map_err(ExportError::Tls)?;
        }
        Ok(endpoint.connect_lazy())
    }
}

/// Starts to export spans, once in a process, inside its runtime.
pub(crate) fn start(collector: &CollectorAddress) -> Result<(), ExportError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_channel(collector.channel()?)
        .build()
        .map_err(ExportError::Library)?;
    let waiting = WaitingSpans::default();
    let exporter = WatchedExporter::new(exporter, waiting.clone());
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(waiting::MOST)
        .with_max_export_batch_size(BATCH);
    let processor = BatchSpanProcessor::builder(exporter)
        .with_batch_config(batches.build())
        .build();
    let provider = SdkTracerProvider::builder()
        .with_id_generator(RequestIds)
        .with_resource(describe_process())
        .with_span_processor(waiting.in_front_of(processor))
        .build();
    let tracer = provider.tracer("bowline");
    // Whoever starts it has started logging first, which can be done once.
    drop(EXPORT.set(SpanExport { tracer, provider }));
    tracing::info!(endpoint = collector.endpoint, "spans are exported");
    Ok(())
}

/// Returns what the process is called: by the variables, or by its program.
fn describe_process() -> Resource {
    const NAME: &str = "service.name";
    let given = Resource::builder().build();
    let has_name = given
        .iter()
        .any(|(key, value)| key.as_str() == NAME && !value.as_str().starts_with("unknown_service"));
    let builder = Resource::builder()
        .with_attribute(opentelemetry::KeyValue::new(
            "service.version",
            env!("CARGO_PKG_VERSION"),
        ))
        .with_attribute(opentelemetry::KeyValue::new(
            "service.instance.id",
            RequestId::random().to_string(),
        ));
    let program = std::env::current_exe().ok();
    let program = program.as_deref().and_then(Path::file_name);
    match program.map(|name| name.to_string_lossy().into_owned()) {
        Some(name) if !has_name => builder.with_service_name(name).build(),
        _ => builder.build(),
    }
}

/// Sends the spans that wait, as far as the collector takes them in a moment; nothing is recorded from here on.
pub(crate) async fn finish() {
    let Some(export) = EXPORT.get() else {
        return;
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends within its time, and the process with it"
    )]
    let sending = tokio::task::spawn_blocking(|| {
        if let Err(error) = export.provider.shutdown_with_timeout(LAST_SPANS) {
            tracing::warn!(%error, "the last spans may be lost");
        }
    });
    drop(sending.await);
}

pub(super) fn tracer() -> Option<&'static SdkTracer> {
    EXPORT.get().map(|export| &export.tracer)
}

/// Says whether spans are exported: whether what is kept only for them is worth keeping.
#[must_use]
pub fn is_on() -> bool {
    EXPORT.get().is_some()
}

thread_local! {
    static NEXT_TRACE: Cell<Option<RequestId>> = const { Cell::new(None) };
}

/// Gives a trace that `begin` begins the id of its request.
pub(super) fn with_trace_id<T>(id: RequestId, begin: impl FnOnce() -> T) -> T {
    NEXT_TRACE.set(Some(id));
    let begun = begin();
    NEXT_TRACE.set(None);
    begun
}

/// The ids of traces are those of requests.
#[derive(Debug)]
struct RequestIds;

impl IdGenerator for RequestIds {
    fn new_trace_id(&self) -> TraceId {
        let id = NEXT_TRACE.take().unwrap_or_else(RequestId::random);
        TraceId::from(id.0.get())
    }

    fn new_span_id(&self) -> SpanId {
        SpanId::from(u64::from_be_bytes(random_bytes()).max(1))
    }
}

#[cfg(test)]
mod tests;
