//! The client: one request, one whole answer.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, RootCertStore};

use crate::{Destinations, HttpError, destinations::GuardedResolver};

/// The longest head of an answer, in bytes.
const LONGEST_HEAD: usize = 64 << 10;
/// How many redirects on one origin are followed.
const MOST_REDIRECTS: usize = 3;
/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(60);

/// What an answer may take.
#[derive(Clone, Copy, Debug)]
pub struct AnswerLimits {
    /// The longest body, in bytes.
    pub longest_body: usize,
    /// The longest time, from the first packet to the last byte, redirects included.
    pub deadline: Duration,
}

/// A client with its own connections. Clones share them.
#[derive(Clone)]
pub struct HttpClient {
    connections: Client<HttpsConnector<HttpConnector<GuardedResolver>>, Full<Bytes>>,
    destinations: Destinations,
    limits: AnswerLimits,
    trusts_anybody: bool,
}

impl HttpClient {
    /// Makes a client that trusts the certificate authorities of this machine; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others.
    #[must_use]
    pub fn new(destinations: Destinations, limits: AnswerLimits) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self::trusting(roots, destinations, limits)
    }

    /// Makes a client that trusts these certificate authorities, and no others.
    #[must_use]
    pub fn trusting(
        roots: RootCertStore,
        destinations: Destinations,
        limits: AnswerLimits,
    ) -> Self {
        let trusts_anybody = !roots.is_empty();
        let tls = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new_with_resolver(GuardedResolver::new(destinations.clone()));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let connections = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http1_max_buf_size(LONGEST_HEAD)
            .build(connector);
        Self {
            connections,
            destinations,
            limits,
            trusts_anybody,
        }
    }

    /// Returns the same client with another deadline.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        let limits = AnswerLimits {
            deadline,
            ..self.limits
        };
        Self {
            limits,
            ..self.clone()
        }
    }

    /// Sends a request and returns the whole answer, whatever its status. A redirected GET is followed on its own origin.
    ///
    /// # Errors
    ///
    /// Why there is no answer within the limits.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answered = tokio::time::timeout(self.limits.deadline, self.follow(request));
        answered
            .await
            .unwrap_or(Err(HttpError::Deadline(self.limits.deadline)))
    }

    async fn follow(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let agent = HeaderValue::from_static("bowline");
        request.headers_mut().insert(header::USER_AGENT, agent);
        for _ in 0..=MOST_REDIRECTS {
            let (url, again) = (request.uri().clone(), copy_of_get(&request));
            let answer = self.send_once(request).await?;
            let place = match (answer.status(), answer.headers().get(header::LOCATION)) {
                (status, Some(place)) if is_redirect(status) => place,
                _ => return Ok(answer),
            };
            let place = String::from_utf8_lossy(place.as_bytes()).into_owned();
            let (Some(again), Some(next)) = (again, resolve_redirect(&url, &place)) else {
                return Err(HttpError::Redirect(place));
            };
            request = again;
            *request.uri_mut() = next;
        }
        Err(HttpError::Redirect(request.uri().to_string()))
    }

    async fn send_once(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let url = request.uri();
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
        match url.scheme_str() {
            Some("https") if !self.trusts_anybody => return Err(HttpError::NoAuthorities),
            Some("http" | "https") if !host.is_empty() => self.destinations.check_literal(host)?,
            _ => return Err(HttpError::Url(url.clone())),
        }
        let answer = self.connections.request(request.map(Full::new)).await;
        let (head, body) = answer
            .map_err(|error| HttpError::Connection(Box::new(error)))?
            .into_parts();
        let longest = self.limits.longest_body;
        let body = Limited::new(body, longest).collect().await;
        let body = body.map_err(|source| HttpError::Body { longest, source })?;
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Returns the request once more, if it is a GET: nothing else is sent twice.
fn copy_of_get(request: &Request<Bytes>) -> Option<Request<Bytes>> {
    (request.method() == Method::GET).then(|| request.clone())
}

/// Returns where a redirect leads, if that is the same origin.
fn resolve_redirect(from: &Uri, place: &str) -> Option<Uri> {
    let origin = |url: &Uri| {
        let default = if url.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        let host = url.host()?.to_ascii_lowercase();
        Some((
            url.scheme_str()?.to_owned(),
            host,
            url.port_u16().unwrap_or(default),
        ))
    };
    let next: Uri = if place.starts_with('/') && !place.starts_with("//") {
        let authority = from.authority()?.as_str();
        format!("{}://{authority}{place}", from.scheme_str()?)
            .parse()
            .ok()?
    } else {
        place.parse().ok()?
    };
    (origin(&next)? == origin(from)?).then_some(next)
}

#[cfg(test)]
mod tests;
