//! How the authority is asked.

use std::{path::Path, pin::Pin, sync::Arc, time::Duration};

use bowline_clock::SharedClock;
use bowline_http_client::{AnswerLimits, Destinations, HttpClient};
use bytes::Bytes;
use chrono::DateTime;
use http::{Request, Response, header::RETRY_AFTER};
use http_body_util::{BodyExt as _, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error};
use parking_lot::Mutex;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// What an answer may take.
const LIMITS: AnswerLimits = AnswerLimits {
    longest_body: 1 << 20,
    deadline: Duration::from_secs(30),
};

/// A client for one attempt, which remembers for how long the authority wants to be left alone.
#[derive(Clone)]
pub(crate) struct AuthorityClient {
    http: HttpClient,
    clock: SharedClock,
    retry_after: Arc<Mutex<Option<Duration>>>,
}

impl AuthorityClient {
    /// Makes a client that trusts the authorities of the machine, or those of a file alone.
    pub(crate) fn new(ca_file: Option<&Path>, clock: SharedClock) -> Result<Self, String> {
        let http = match ca_file {
            None => HttpClient::new(Destinations::Anywhere, LIMITS),
            Some(file) => HttpClient::trusting(read_roots(file)?, Destinations::Anywhere, LIMITS),
        };
        Ok(Self {
            http,
            clock,
            retry_after: Arc::default(),
        })
    }

    /// Returns for how long the authority wants to be left alone, if an answer that refuses has said so.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        *self.retry_after.lock()
    }

    fn note_refusal(&self, answer: &Response<Bytes>) {
        if !matches!(answer.status().as_u16(), 429 | 503) {
            return;
        }
        let told = answer.headers().get(RETRY_AFTER);
        let Some(told) = told.and_then(|told| told.to_str().ok()) else {
            return;
        };
        let seconds = told.trim().parse().ok();
        let wait = seconds.map(Duration::from_secs).or_else(|| {
            let end = DateTime::parse_from_rfc2822(told.trim()).ok()?;
            (end.to_utc() - self.clock.now()).to_std().ok()
        });
        if let Some(wait) = wait {
            *self.retry_after.lock() = Some(wait);
        }
    }
}

impl instant_acme::HttpClient for AuthorityClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let client = self.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(never) => match never {},
            };
            let answer = client.http.send(Request::from_parts(head, body)).await;
            let answer = answer.map_err(|error| Error::Other(Box::new(error)))?;
            client.note_refusal(&answer);
            Ok(BytesResponse::from(answer.map(Full::new)))
        })
    }
}

fn read_roots(file: &Path) -> Result<RootCertStore, String> {
    let failed = |problem: String| format!("acme.directory_ca_file {}: {problem}", file.display());
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let added = roots.add(certificate);
        added.map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(failed("it has no certificate".to_owned()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests;
