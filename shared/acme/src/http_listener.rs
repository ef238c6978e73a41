//! Port 80: answers HTTP-01 challenges, and nothing else.

use std::{convert::Infallible, time::Duration};

use bowline_service_kit::{
    Tasks,
    connection_slots::{ConnectionSlots, SlotLimits, SlotStream},
};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

use crate::store::AcmeStore;

const PATH: &str = "/.well-known/acme-challenge/";
/// How many connections are served at once. Silent ones make room for newcomers, so that they keep no authority out.
const LIMITS: SlotLimits = SlotLimits {
    all: 256,
    of_one_holder: 0,
};
/// How long a connection may take, for its one request.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest head of a request, in bytes.
const LONGEST_HEAD: usize = 8 << 10;

/// A socket that occupies a slot; nobody is known here.
type ChallengeStream = SlotStream<TcpStream, ()>;

/// Answers for ever.
pub(crate) async fn answer_requests(socket: TcpListener, store: AcmeStore, tasks: Tasks) {
    let slots = ConnectionSlots::new(LIMITS);
    loop {
        let (stream, source) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection for challenges can not be accepted");
                sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(slot) = slots.take_slot(Some(source.ip())).await else {
            continue;
        };
        let (stream, store) = (SlotStream::new(stream, slot), store.clone());
        tasks.spawn_background("challenge", async move {
            drop(timeout(PATIENCE, serve_one(stream, store)).await);
        });
    }
}

async fn serve_one(stream: ChallengeStream, store: AcmeStore) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(&request, &store);
        async move { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .keep_alive(false)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection for challenges failed");
    }
}

fn answer(request: &Request<Incoming>, store: &AcmeStore) -> Response<Full<Bytes>> {
    let token = request.uri().path().strip_prefix(PATH);
    let token = token.filter(|_| matches!(*request.method(), Method::GET | Method::HEAD));
    let found = match token.map(|token| store.read_http_answer(token)) {
        Some(Ok(found)) => found,
        Some(Err(error)) => {
            tracing::warn!(%error, "a challenge can not be answered");
            None
        }
        None => None,
    };
    let (status, text) = match found {
        Some(text) => (StatusCode::OK, text),
        None => (
            StatusCode::NOT_FOUND,
            "only certificate authorities are answered here\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
