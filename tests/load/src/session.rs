//! Requests of one machine, by either transport.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use bowline_clock::random_bytes;
use bowline_control_nacl::{open_box, seal_box};
use bowline_control_wire::KeyResponse;
use bowline_keys::{MachinePublic, PrivateKey};
use bytes::Bytes;
use futures_util::future::Either;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::{task::JoinSet, time::timeout};

use crate::dial::{Dialed, shake_hands};

/// How long a client waits for the head of an answer; its watchdog counts that time, too.
const WATCHDOG: Duration = Duration::from_secs(120);

/// How long is waited for the reason of an answer that is not good.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How a node speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// HTTP/2 inside of Noise.
    Noise,
    /// Bodies in boxes, HTTP/1.1 around them.
    Boxes,
}

/// A connection on which one machine asks; it ends with its last handle.
#[derive(Clone, Debug)]
pub struct MachineSession {
    machine: Arc<PrivateKey>,
    keys: Arc<KeyResponse>,
    requests: Requests,
    _connection: Arc<JoinSet<()>>,
}

#[derive(Clone, Debug)]
enum Requests {
    /// Several requests at once.
    Http2(http2::SendRequest<Full<Bytes>>),
    /// One after the other.
    Http1(Arc<Mutex<http1::SendRequest<Full<Bytes>>>>),
}

impl MachineSession {
    /// Begins to speak on a connection.
    ///
    /// # Errors
    ///
    /// What hinders it.
    pub async fn begin(
        stream: Dialed,
        transport: Transport,
        machine: &Arc<PrivateKey>,
        keys: &Arc<KeyResponse>,
    ) -> Result<Self> {
        let mut tasks = JoinSet::new();
        let requests = match transport {
            Transport::Noise => {
                let stream = shake_hands(stream, machine, keys.public_key).await?;
                let mut builder = http2::Builder::new(TokioExecutor::new());
                // As large as those of current clients.
                builder.initial_stream_window_size(4 << 20);
                let (requests, connection) = builder.handshake(TokioIo::new(stream)).await?;
                tasks.spawn(async { drop(connection.await) });
                Requests::Http2(requests)
            }
            Transport::Boxes => {
                let (requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
                tasks.spawn(async { drop(connection.await) });
                Requests::Http1(Arc::new(Mutex::new(requests)))
            }
        };
        Ok(Self {
            machine: Arc::clone(machine),
            keys: Arc::clone(keys),
            requests,
            _connection: Arc::new(tasks),
        })
    }

    /// Sends a request, and returns the body of a good answer as it comes.
    ///
    /// # Errors
    ///
    /// What hinders it, or status and reason of an answer that is not good.
    pub async fn ask(&mut self, what: &str, json: Vec<u8>) -> Result<Incoming> {
        let answer = timeout(WATCHDOG, self.send(what, json));
        let answer = answer
            .await
            .with_context(|| format!("{what}: no answer"))??;
        let status = answer.status().as_u16();
        let body = answer.into_body();
        if status != 200 {
            let said = timeout(LAST_WORDS, body.collect()).await;
            let said = said.ok().and_then(Result::ok).unwrap_or_default();
            let said = String::from_utf8_lossy(&said.to_bytes()).into_owned();
            bail!(
                "{what}: {status} {}",
                said.lines().next().unwrap_or_default()
            );
        }
        Ok(body)
    }

    /// Sends a request, and returns the whole of what a good answer says.
    ///
    /// # Errors
    ///
    /// What hinders it, or the status of an answer that is not good.
    pub async fn ask_all(&mut self, what: &str, json: Vec<u8>) -> Result<Bytes> {
        let body = self.ask(what, json).await?;
        let body = timeout(WATCHDOG, body.collect()).await??.to_bytes();
        match &self.requests {
            Requests::Http1(_) if !body.is_empty() => self.open(&body).map(Bytes::from),
            _ => Ok(body),
        }
    }

    fn send(
        &mut self,
        what: &str,
        json: Vec<u8>,
    ) -> impl Future<Output = Result<Response<Incoming>, anyhow::Error>> {
        let request = match &self.requests {
            Requests::Http2(_) => {
                Request::post(format!("https://unused/machine/{what}")).body(Full::from(json))
            }
            Requests::Http1(_) => {
                let public = MachinePublic::from_bytes(self.machine.public_bytes());
                // A registration has the path of the machine alone.
                let rest = if what == "map" { "/map" } else { "" };
                let legacy = self.keys.legacy_public_key;
                let body = seal_box(&json, &self.machine, legacy, random_bytes());
                Request::post(format!("/machine/{}{rest}", public.to_hex()))
                    .header("Host", "gateway")
                    .body(Full::from(body))
            }
        };
        let answer = request.map(|request| match &mut self.requests {
            Requests::Http2(requests) => Either::Left(requests.send_request(request)),
            Requests::Http1(requests) => Either::Right(requests.lock().send_request(request)),
        });
        async move { Ok(answer?.await?) }
    }

    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        Ok(open_box(sealed, self.keys.legacy_public_key, [&*self.machine])?.plaintext)
    }
}
