//! The relays clients are told of, where others describe them: a URL that is asked again and again, or a file.

use std::{
    io,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use bowline_control_wire::DerpMap;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::GatewayConfig;

/// The longest map that is taken, in bytes.
const LONGEST: usize = 1 << 20;
/// How long fetching may take, from the connection to the last byte.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no map.
#[derive(Debug, thiserror::Error)]
pub enum DerpMapError {
    /// The file can not be read.
    #[error("the DERP map {0} can not be read: {1}")]
    File(PathBuf, #[source] io::Error),
    /// The URL gives no answer, or one that is no file.
    #[error("the DERP map {0} can not be fetched: {1}")]
    Fetch(Uri, String),
    /// What was read or fetched is no map.
    #[error("the DERP map {0} can not be used: {1}")]
    Text(String, String),
}

/// When a map is fetched again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefreshIntervals {
    /// After it was fetched.
    pub(crate) refresh: Duration,
    /// After it could not be.
    pub(crate) retry: Duration,
}

/// The usual pace: relays change seldom, and a gateway without any wants one soon.
pub(crate) const PACE: RefreshIntervals = RefreshIntervals {
    refresh: Duration::from_secs(600),
    retry: Duration::from_secs(30),
};

/// The map to start with.
#[derive(Debug)]
pub(crate) struct InitialDerpMap {
    /// What clients are told.
    pub(crate) map: DerpMap,
    /// Whether the URL gave it.
    pub(crate) is_fetched: bool,
}

/// Returns the map of the URL; when that can not be had, or none is set, the file's; when none is set, `own`.
///
/// # Errors
///
/// What is wrong with the file. That the URL has no map is logged: the gateway serves without it.
pub(crate) async fn load_initial(
    config: &GatewayConfig,
    own: DerpMap,
) -> Result<InitialDerpMap, DerpMapError> {
    let fetched = match &config.derp_map_url {
        Some(url) => Some(fetch_url(url).await),
        None => None,
    };
    if let Some(Ok(map)) = fetched {
        return Ok(InitialDerpMap {
            map,
            is_fetched: true,
        });
    }
    let map = match &config.derp_map_file {
        Some(path) => read_file(path)?,
        None => own,
    };
    if let Some(Err(error)) = fetched {
        let regions = map.regions.len();
        tracing::error!(%error, regions, "clients are told of the regions known here until the map can be fetched");
    }
    if map.regions.is_empty() {
        tracing::warn!(
            "clients have no relay: they stay in the state \"Starting\" and reach nobody, unless the policy of their tailnet brings relays (derpMap)"
        );
    }
    Ok(InitialDerpMap {
        map,
        is_fetched: false,
    })
}

/// Fetches the map for ever, and tells each that differs from the one before; a failure changes nothing.
pub(crate) async fn keep_refreshed(
    url: Uri,
    first: InitialDerpMap,
    pace: RefreshIntervals,
    tell: impl Fn(DerpMap),
) {
    let mut known = first.map;
    let mut wait = if first.is_fetched {
        pace.refresh
    } else {
        pace.retry
    };
    loop {
        tokio::time::sleep(wait).await;
        wait = match fetch_url(&url).await {
            Ok(map) => {
                if map != known {
                    tracing::info!(regions = map.regions.len(), "the DERP map has changed");
                    tell(map.clone());
                    known = map;
                }
                pace.refresh
            }
            Err(error) => {
                tracing::warn!(%error, "the last good DERP map stays");
                pace.retry
            }
        };
    }
}

fn read_file(path: &Path) -> Result<DerpMap, DerpMapError> {
    let text = std::fs::read(path).map_err(|error| DerpMapError::File(path.to_owned(), error))?;
    parse_derp_map(&text).map_err(|problem| DerpMapError::Text(path.display().to_string(), problem))
}

async fn fetch_url(url: &Uri) -> Result<DerpMap, DerpMapError> {
    let failed = |problem: String| DerpMapError::Fetch(url.clone(), problem);
    let text = match tokio::time::timeout(PATIENCE, get(url)).await {
        Ok(Ok(text)) => text,
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Err(_) => return Err(failed("no answer within 10 seconds".to_owned())),
    };
    parse_derp_map(&text).map_err(|problem| DerpMapError::Text(url.to_string(), problem))
}

/// Reads a map; one without a relay would cut off every client.
fn parse_derp_map(text: &[u8]) -> Result<DerpMap, String> {
    let map: DerpMap = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if map.regions.values().all(|region| region.nodes.is_empty()) {
        return Err("it names no relay".to_owned());
    }
    Ok(map)
}

type FetchError = Box<dyn std::error::Error + Send + Sync>;

async fn get(url: &Uri) -> Result<Bytes, FetchError> {
    let host = url.host().ok_or("it names no host")?;
    let host = host.trim_matches(['[', ']']);
    if url.scheme_str() != Some("https") {
        let stream = TcpStream::connect((host, url.port_u16().unwrap_or(80))).await?;
        return send_request(stream, url).await;
    }
    let stream = TcpStream::connect((host, url.port_u16().unwrap_or(443))).await?;
    let name = ServerName::try_from(host.to_owned())?;
    let stream = TlsConnector::from(load_trusted_roots()?)
        .connect(name, stream)
        .await?;
    send_request(stream, url).await
}

/// Returns what the machine trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` say otherwise.
fn load_trusted_roots() -> Result<Arc<ClientConfig>, FetchError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err("this machine trusts no certificate authority".into());
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

async fn send_request<S>(stream: S, url: &Uri) -> Result<Bytes, FetchError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let host = match url.port_u16() {
        Some(port) => format!("{}:{port}", url.host().unwrap_or_default()),
        None => url.host().unwrap_or_default().to_owned(),
    };
    let request = Request::get(url.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, host)
        .header(header::USER_AGENT, "bowline")
        .body(Empty::<Bytes>::new())?;
    let mut answered = pin!(async move {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        if status != StatusCode::OK {
            return Err(format!("it answers {status}").into());
        }
        let body = Limited::new(answer.into_body(), LONGEST).collect();
        Ok(body.await?.to_bytes())
    });
    tokio::select! {
        biased;
        answer = &mut answered => answer,
        ended = connection => {
            ended?;
            answered.await
        }
    }
}

#[cfg(test)]
mod tests;
