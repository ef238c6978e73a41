//! Any bytes as the address a request is for, on a running gateway whose services are all away.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use bowline_bus::Bus;
use bowline_clock::SystemClock;
use bowline_control_keys::ControlKeys;
use bowline_control_wire::DerpMap;
use bowline_netmap_gateway::{Backends, Dependencies, GatewayConfig, start};
use bowline_service_kit::{GrpcChannel, Shutdown, Tasks};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    runtime::Runtime,
};

fn gateway() -> &'static (Runtime, SocketAddr) {
    static GATEWAY: OnceLock<(Runtime, SocketAddr)> = OnceLock::new();
    GATEWAY.get_or_init(|| {
        let runtime = Runtime::new().expect("a runtime");
        let address = runtime.block_on(serve());
        (runtime, address)
    })
}

async fn serve() -> SocketAddr {
    let control_keys =
        option_env!("CARGO_TARGET_TMPDIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let control_keys = control_keys.join("bowline-fuzz-control-keys");
    ControlKeys::create(&control_keys).expect("control keys");
    let config = GatewayConfig {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        public_url: "http://127.0.0.1".to_owned(),
        control_keys: Some(control_keys),
        plain_http_boxes: true,
        ..GatewayConfig::default()
    };
    let nobody = || GrpcChannel::admin_socket("/nonexistent/bowline.sock");
    let given = Dependencies {
        backends: Backends {
            identity: nobody(),
            identity_for_waits: nobody(),
            registry: nobody(),
            compiler: nobody(),
        },
        bus: Bus::in_process(),
        clock: Arc::new(SystemClock),
        tasks: Tasks::new(Shutdown::new(Duration::from_secs(1))),
        derp_map: DerpMap::default(),
        more_routes: axum::Router::new(),
        admin_listen: None,
    };
    start(config, given).await.expect("it serves").address
}

/// Addresses that mean something.
pub fn seeds() -> Vec<Vec<u8>> {
    let machine = "5a".repeat(32);
    [
        "GET /key".to_owned(),
        "GET /key?v=130".to_owned(),
        "GET http://127.0.0.1:80/key?v=130&x=%41".to_owned(),
        "GET /ts2021?X-Tailscale-Handshake=AAAA%3D".to_owned(),
        "GET /register/00112233445566778899aabbccddeeff".to_owned(),
        format!("POST /machine/{machine}"),
        format!("POST /machine/{machine}/map"),
        format!("POST /machine/{machine}/set-dns"),
        "POST /verify/token".to_owned(),
        "GET /generate_204".to_owned(),
    ]
    .map(String::into_bytes)
    .to_vec()
}

/// Every request is answered: never by a defect, and keys only where they are asked for.
pub fn run(input: &[u8]) {
    let (runtime, address) = gateway();
    let limit = Duration::from_secs(20);
    let answer =
        runtime.block_on(async { tokio::time::timeout(limit, ask(*address, input)).await });
    let answer = answer.expect("an answer in time");
    let Some(status) = answer
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5))
    else {
        // What is no HTTP/1 may be HTTP/2, or be let go.
        return;
    };
    let allowed = [
        "200", "204", "400", "404", "405", "408", "413", "414", "415", "431", "501", "503",
    ];
    assert!(allowed.contains(&status), "{answer}");
}

/// Connects from one of many networks in turn: each may ask only so often.
async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let network = NEXT.fetch_add(1, Ordering::Relaxed);
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, network, 0, 1], 0)))?;
    socket.connect(address).await
}

async fn ask(address: SocketAddr, input: &[u8]) -> String {
    let mut stream = connect(address).await.expect("it listens");
    let rest = b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    // The server may have heard enough before the end.
    drop(stream.write_all(&[input, rest].concat()).await);
    drop(stream.shutdown().await);
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    // Thousands of connections: none may wait for its port to be free again.
    drop(stream.set_zero_linger());
    String::from_utf8_lossy(&answer).into_owned()
}
