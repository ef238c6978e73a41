//! A receiver of webhooks over HTTPS for tests, with a certificate authority of its own.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "this crate is only for tests"
)]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bowline_http_client::{AnswerLimits, Destinations, HttpClient};
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac as _};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, body::Bytes, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{RootCertStore, ServerConfig, pki_types::PrivatePkcs8KeyDer};
use serde_json::Value;
use sha2::Sha256;
use tokio::{net::TcpListener, sync::watch};
use tokio_rustls::TlsAcceptor;

/// Time by which whatever a test waits for has happened, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// A path at which it answers when it is silent elsewhere.
pub const ALWAYS: &str = "/always";

/// How the receiver answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Success.
    Taken,
    /// This status.
    Status(u16),
    /// Success, with this body.
    Json(&'static str),
    /// Another place of its own.
    Redirect,
    /// Nothing, until it is told to answer otherwise; at [`ALWAYS`] success.
    Silence,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The header with the event's id.
    pub id: String,
    /// The header with the signatures.
    pub signature: String,
    /// What came.
    pub body: String,
    /// Whether it was answered with success.
    pub is_taken: bool,
}

impl Delivery {
    /// Returns the one event of the list.
    #[must_use]
    pub fn event(&self) -> Value {
        let mut events: Vec<Value> = serde_json::from_str(&self.body).unwrap();
        assert_eq!(events.len(), 1);
        events.remove(0)
    }

    /// Returns the type of the one event.
    #[must_use]
    pub fn kind(&self) -> String {
        self.event()["type"].as_str().unwrap().to_owned()
    }

    /// Checks the signature as a receiver does that was written for the hosted service.
    #[must_use]
    pub fn is_signed_by(&self, secret: &str, now: DateTime<Utc>) -> bool {
        let mut parts = self
            .signature
            .split(',')
            .map(|part| part.split_once('=').unwrap());
        let (name, time) = parts.next().unwrap();
        assert_eq!(name, "t");
        let time: i64 = time.parse().unwrap();
        assert!(
            (now.timestamp() - time).abs() < 300,
            "receivers refuse what is older"
        );
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{time}.{}", self.body).as_bytes());
        let expected = hex::encode(mac.finalize().into_bytes());
        parts.any(|(name, digits)| name == "v1" && digits == expected)
    }
}

/// A receiver, which runs until the runtime of its test ends.
pub struct TestReceiver {
    address: SocketAddr,
    authority: String,
    authority_der: Vec<u8>,
    answer: watch::Sender<Answer>,
    deliveries: watch::Receiver<Vec<Delivery>>,
}

impl TestReceiver {
    /// Starts one on a free port of the loopback address.
    pub async fn start() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(params, authority_key);
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let own = own.signed_by(&key, &issuer).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = config.with_single_cert(vec![own.der().clone()], key.into());
        let acceptor = TlsAcceptor::from(Arc::new(config.unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (answer, answers) = watch::channel(Answer::Taken);
        let (sender, deliveries) = watch::channel(Vec::new());
        let sender = Arc::new(sender);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, answers, sender) =
                    (acceptor.clone(), answers.clone(), Arc::clone(&sender));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let serve = service_fn(move |request| {
                        take(request, answers.clone(), Arc::clone(&sender))
                    });
                    let served =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), serve);
                    drop(served.await);
                });
            }
        });
        Self {
            address,
            authority: authority.pem(),
            authority_der: authority.der().to_vec(),
            answer,
            deliveries,
        }
    }

    /// Returns the certificate of its authority, as PEM.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns where it takes events.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at("/hook")
    }

    /// Returns its URL with a path.
    #[must_use]
    pub fn url_at(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// Returns a client that trusts the receiver.
    #[must_use]
    pub fn client(&self, destinations: Destinations) -> HttpClient {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority_der.clone().into()).unwrap();
        let limits = AnswerLimits {
            longest_body: 1 << 10,
            deadline: Duration::from_secs(2),
        };
        HttpClient::trusting(roots, destinations, limits)
    }

    /// Sets how it answers from now on.
    pub fn answer(&self, answer: Answer) {
        self.answer.send_replace(answer);
    }

    /// Returns all deliveries, once there are so many.
    pub async fn wait_for(&self, number: usize) -> Vec<Delivery> {
        let mut deliveries = self.deliveries.clone();
        let there = deliveries.wait_for(|all| all.len() >= number);
        let found = tokio::time::timeout(SOON, there).await;
        match found {
            Ok(found) => found.unwrap().clone(),
            Err(_) => panic!("not {number} deliveries, but {:?}", self.all()),
        }
    }

    /// Returns all deliveries so far.
    #[must_use]
    pub fn all(&self) -> Vec<Delivery> {
        self.deliveries.borrow().clone()
    }
}

async fn take(
    request: Request<Incoming>,
    mut answers: watch::Receiver<Answer>,
    deliveries: Arc<watch::Sender<Vec<Delivery>>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let header = |name: &str| {
        let value = request.headers().get(name);
        value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
    };
    let (id, signature) = (
        header("bowline-webhook-event"),
        header("tailscale-webhook-signature"),
    );
    let is_always = request.uri().path() == ALWAYS;
    let body = request.into_body().collect().await?.to_bytes();
    let answer = match *answers.borrow_and_update() {
        Answer::Silence if is_always => Answer::Taken,
        answer => answer,
    };
    let delivery = Delivery {
        id,
        signature,
        body: String::from_utf8(body.to_vec()).unwrap(),
        is_taken: answer == Answer::Taken,
    };
    deliveries.send_modify(|all| all.push(delivery));
    let answer = match answer {
        Answer::Silence => {
            let speaks = answers.wait_for(|answer| *answer != Answer::Silence);
            drop(speaks.await);
            Answer::Status(503)
        }
        answer => answer,
    };
    let (status, location, body) = match answer {
        Answer::Taken | Answer::Silence => (200, None, ""),
        Answer::Status(status) => (status, None, ""),
        Answer::Json(body) => (200, None, body),
        Answer::Redirect => (307, Some("/elsewhere"), ""),
    };
    let mut response = Response::builder().status(status);
    if let Some(location) = location {
        response = response.header("location", location);
    }
    Ok(response.body(Full::new(Bytes::from(body))).unwrap())
}
