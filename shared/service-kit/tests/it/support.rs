//! A server that answers every RPC with the name of its caller, and calls to it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_proto::access::{CallerKind, rules};
use bowline_service_kit::{
    Authority, Caller, CallerVersions, Certificates, GrpcChannel, Listeners, RequestId,
    ServiceName, Shutdown, serve,
};
use chrono::{NaiveDate, Utc};
use http::uri::PathAndQuery;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// An RPC that gateways may call and relays may not.
pub(crate) fn gateways_only() -> &'static str {
    let rule = rules().iter().find(|rule| {
        rule.callers.contains(&CallerKind::Gateway)
            && !rule.callers.contains(&CallerKind::Relay)
            && !rule.callers.contains(&CallerKind::Admin)
    });
    rule.unwrap().path
}

/// An RPC that administrators may call.
pub(crate) fn for_admins() -> &'static str {
    rules()
        .iter()
        .find(|rule| rule.callers.contains(&CallerKind::Admin))
        .unwrap()
        .path
}

pub(crate) fn today() -> NaiveDate {
    Utc::now().date_naive()
}

/// Answers everything, after a pause that the request's metadata may ask for.
pub(crate) fn routes() -> Routes {
    routes_with(Arc::default())
}

/// What a test learns of a server.
#[derive(Debug, Default)]
pub(crate) struct Handle {
    /// How many calls came.
    pub(crate) calls: AtomicUsize,
    /// Which releases have called.
    pub(crate) callers: CallerVersions,
}

pub(crate) fn routes_with(handle: Arc<Handle>) -> Routes {
    let answer = tower::service_fn(move |request: http::Request<Body>| {
        let handle = Arc::clone(&handle);
        async move {
            handle.calls.fetch_add(1, Ordering::Relaxed);
            respond(request).await
        }
    });
    let router = axum::Router::new().fallback_service(tower::util::MapRequest::new(
        answer,
        |request: http::Request<axum::body::Body>| request.map(Body::new),
    ));
    Routes::from(router)
}

async fn respond(request: http::Request<Body>) -> Result<http::Response<Body>, Infallible> {
    let handler = tower::service_fn(|request: Request<()>| async move {
        if let Some(pause) = request.metadata().get("pause-ms") {
            let pause = pause.to_str().unwrap().parse().unwrap();
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        let mut response = Response::new(());
        let caller = Caller::of(&request)?.to_string();
        response
            .metadata_mut()
            .insert("caller", caller.parse().unwrap());
        let id = RequestId::current().unwrap().to_string();
        response
            .metadata_mut()
            .insert("request-id", id.parse().unwrap());
        Ok::<_, Status>(response)
    });
    let mut grpc = tonic::server::Grpc::new(ProstCodec::<(), ()>::default());
    Ok(grpc.unary(handler, request).await)
}

/// Calls an RPC without arguments; returns who the server thinks called.
pub(crate) async fn call(channel: &GrpcChannel, path: &'static str) -> Result<String, Status> {
    call_with(channel, path, Request::new(())).await
}

pub(crate) async fn call_with(
    channel: &GrpcChannel,
    path: &'static str,
    request: Request<()>,
) -> Result<String, Status> {
    answer_to(channel, path, request, "caller").await
}

/// Calls an RPC without arguments; returns one thing that the server says.
pub(crate) async fn answer_to(
    channel: &GrpcChannel,
    path: &'static str,
    request: Request<()>,
    wanted: &str,
) -> Result<String, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await?;
    let codec = ProstCodec::<(), ()>::default();
    let path = PathAndQuery::from_static(path);
    let response: Response<()> = client.unary(request, path, codec).await?;
    Ok(response
        .metadata()
        .get(wanted)
        .unwrap()
        .to_str()
        .unwrap()
        .to_owned())
}

/// A running server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) task: JoinHandle<()>,
}

/// Serves on a free port.
pub(crate) async fn start(certificates: Certificates) -> Server {
    start_on("127.0.0.1:0".parse().unwrap(), certificates, None).await
}

pub(crate) async fn start_on(
    address: SocketAddr,
    certificates: Certificates,
    socket: Option<&Path>,
) -> Server {
    start_with(Arc::default(), address, certificates, socket).await
}

pub(crate) async fn start_with(
    handle: Arc<Handle>,
    address: SocketAddr,
    certificates: Certificates,
    socket: Option<&Path>,
) -> Server {
    bowline_service_kit::install_crypto_provider();
    let mut listeners = Listeners::default()
        .with_tcp(address, certificates)
        .unwrap()
        .with_versions(handle.callers.clone());
    if let Some(socket) = socket {
        listeners = listeners.with_admin_socket(socket).unwrap();
    }
    let address = listeners.tcp_address().unwrap();
    let shutdown = Shutdown::new(Duration::from_secs(10));
    let until = shutdown.clone();
    let task = tokio::spawn(async move {
        let routes = routes_with(handle);
        serve(routes, bowline_proto::DESCRIPTOR_SET, listeners, until)
            .await
            .unwrap();
    });
    Server {
        address,
        shutdown,
        task,
    }
}

/// Passes on what comes for `server` while `open` says so, and holds it otherwise; returns where.
pub(crate) async fn proxy(server: SocketAddr, open: watch::Receiver<bool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(server).await.unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::spawn(pass_on(from_client, to_server, open.clone()));
            tokio::spawn(pass_on(from_server, to_client, open.clone()));
        }
    });
    address
}

async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut open: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        if open.wait_for(|open| *open).await.is_err() || to.write_all(&buffer[..len]).await.is_err()
        {
            return;
        }
    }
}

/// An authority, and a key-registry that runs under it.
pub(crate) async fn deployment() -> (Authority, Server) {
    bowline_service_kit::install_crypto_provider();
    let authority = Authority::generate(today()).unwrap();
    let server = start(
        authority
            .issue_service(ServiceName::KeyRegistry, today())
            .unwrap(),
    )
    .await;
    (authority, server)
}

/// A channel to key-registry.
pub(crate) fn channel(address: SocketAddr, certificates: &Certificates) -> GrpcChannel {
    GrpcChannel::remote(
        ServiceName::KeyRegistry,
        &[address.to_string()],
        certificates,
    )
    .unwrap()
}
