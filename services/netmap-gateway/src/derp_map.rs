//! The relays clients are told of, where others describe them: a URL that is asked again and again, or a file.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bowline_control_wire::DerpMap;
use bowline_http_client::{AnswerLimits, Destinations, HttpClient};
use bowline_service_kit::error_text;
use bytes::Bytes;
use http::{Request, StatusCode, Uri};

use crate::GatewayConfig;

/// What fetching the map may take.
const LIMITS: AnswerLimits = AnswerLimits {
    longest_body: 1 << 20,
    deadline: Duration::from_secs(10),
};

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
    let request = Request::get(url).body(Bytes::new());
    let request = request.map_err(|error| failed(error.to_string()))?;
    let client = HttpClient::new(Destinations::Anywhere, LIMITS);
    let answer = client.send(request).await;
    let answer = answer.map_err(|error| failed(error_text(&error)))?;
    if answer.status() != StatusCode::OK {
        return Err(failed(format!("it answers {}", answer.status())));
    }
    parse_derp_map(answer.body()).map_err(|problem| DerpMapError::Text(url.to_string(), problem))
}

/// Reads a map; one without a relay would cut off every client.
fn parse_derp_map(text: &[u8]) -> Result<DerpMap, String> {
    let map: DerpMap = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if map.regions.values().all(|region| region.nodes.is_empty()) {
        return Err("it names no relay".to_owned());
    }
    Ok(map)
}

#[cfg(test)]
mod tests;
