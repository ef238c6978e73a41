//! The gateway as a process of its own, with its services away.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test fails where something is not as expected"
)]

use std::{net::SocketAddr, path::Path, process::Stdio, time::Duration};

use bowline_control_keys::ControlKeys;
use bowline_service_kit::{
    Authority, Certificates, GrpcChannel, ServiceName, install_crypto_provider,
};
use bowline_test_servers::RedisServer;
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    time::timeout,
};
use tonic::Status;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

pub(crate) const SOON: Duration = Duration::from_secs(60);

/// What a gateway needs around it.
pub(crate) struct TestGateway {
    pub(crate) directory: TempDir,
    admin: Certificates,
    redis: RedisServer,
    internal: SocketAddr,
    /// Where clients connect.
    pub(crate) address: SocketAddr,
}

impl TestGateway {
    /// `None` when Redis is not installed.
    pub(crate) async fn new() -> Option<Self> {
        install_crypto_provider();
        let redis = RedisServer::start().unwrap()?;
        let directory = tempfile::tempdir().unwrap();
        let today = chrono::Utc::now().date_naive();
        let authority = Authority::generate(today).unwrap();
        let service = authority.issue_service(ServiceName::NetmapGateway, today);
        service.unwrap().save(directory.path(), "gateway").unwrap();
        ControlKeys::create(&directory.path().join("control-keys")).unwrap();
        // Free a moment ago: nobody else asks for these very ports.
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let for_clients = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Some(Self {
            directory,
            admin: authority.issue_admin("test", today).unwrap(),
            redis,
            internal: free.local_addr().unwrap(),
            address: for_clients.local_addr().unwrap(),
        })
    }

    pub(crate) fn start(&self, public_url: &str) -> Child {
        let keys = self.directory.path().join("control-keys");
        self.start_with(
            public_url,
            &format!("control_keys = \"{}\"", keys.display()),
        )
    }

    /// Starts it with a line of settings that says where the control keys are.
    pub(crate) fn start_with(&self, public_url: &str, control_keys: &str) -> Child {
        let path = |name: &str| self.directory.path().join(name).display().to_string();
        let settings = format!(
            "listen = \"{}\"\nredis = \"{}\"\nidentity = [\"127.0.0.1:1\"]\n\
             key_registry = [\"127.0.0.1:1\"]\npolicy_compiler = [\"127.0.0.1:1\"]\n\
             [certificates]\nauthority = \"{}\"\ncertificate = \"{}\"\nkey = \"{}\"\n\
             [service]\nlisten = \"{}\"\npublic_url = \"{public_url}\"\n{control_keys}\n\
             [telemetry]\nlisten = \"127.0.0.1:0\"\nlog_filter = \"off\"\n",
            self.internal,
            self.redis.url(),
            path("ca.pem"),
            path("gateway.pem"),
            path("gateway.key"),
            self.address,
        );
        let file = self.directory.path().join("gateway.toml");
        std::fs::write(&file, settings).unwrap();
        start(&file)
    }

    fn channel(&self) -> GrpcChannel {
        let address = [self.internal.to_string()];
        GrpcChannel::remote(ServiceName::NetmapGateway, &address, &self.admin).unwrap()
    }
}

fn start(settings: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_bowline-netmap-gateway"))
        .arg("--config")
        .arg(settings)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

pub(crate) async fn refusal(gateway: Child) -> String {
    let ended = timeout(SOON, gateway.wait_with_output()).await;
    let ended = ended.expect("it ends").unwrap();
    assert_eq!(ended.status.code(), Some(1));
    String::from_utf8(ended.stderr).unwrap()
}

/// Asks for health until somebody answers.
async fn health(channel: &GrpcChannel) -> Result<i32, Status> {
    loop {
        let mut client = HealthClient::new(channel.clone());
        match client.check(HealthCheckRequest::default()).await {
            Ok(answer) => return Ok(answer.into_inner().status),
            Err(status) if status.code() == tonic::Code::Unavailable => {
                tokio::task::yield_now().await;
            }
            Err(status) => return Err(status),
        }
    }
}

#[tokio::test]
async fn health_and_reflection_are_answered_over_mutual_tls() {
    let Some(gateway) = TestGateway::new().await else {
        return;
    };
    let _gateway = gateway.start("http://127.0.0.1");
    let channel = gateway.channel();
    let serving = timeout(SOON, health(&channel)).await.unwrap().unwrap();
    assert_eq!(serving, 1);

    let question = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel);
    let answers = client.server_reflection_info(tokio_stream::iter([question]));
    let answer = answers.await.unwrap().into_inner().message().await.unwrap();
    let Some(MessageResponse::ListServicesResponse(services)) = answer.unwrap().message_response
    else {
        unreachable!("a list was asked for");
    };
    let names: Vec<_> = services.service.into_iter().map(|it| it.name).collect();
    let expected = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn without_a_certificate_or_a_url_it_refuses_in_one_line() {
    let Some(gateway) = TestGateway::new().await else {
        return;
    };
    for (url, part) in [
        ("", "public_url is not set"),
        (
            "https://x.example",
            "there is no certificate for https://x.example",
        ),
    ] {
        let said = refusal(gateway.start(url)).await;
        assert!(said.contains(part), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[tokio::test]
async fn without_control_keys_the_command_that_makes_them_is_named() {
    let Some(gateway) = TestGateway::new().await else {
        return;
    };
    std::fs::remove_dir_all(gateway.directory.path().join("control-keys")).unwrap();
    let said = refusal(gateway.start("http://127.0.0.1")).await;
    assert!(said.contains("bowline control-keys create"), "{said}");
}
