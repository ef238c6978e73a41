//! Commands whose answer is lost on the way, and commands that are given twice.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bowline_proto::{
    identity::v1::{ListTailnetsRequest, tailnet_service_client::TailnetServiceClient},
    key_registry::v1::{
        ListPreAuthKeysRequest, pre_auth_key_service_client::PreAuthKeyServiceClient,
    },
};
use bowline_service_kit::GrpcChannel;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};

use crate::bowline::{TestInstallation, command, run};

/// A way to a server on which one answer is lost: that of a call that makes a pre-auth key.
struct LossyLink {
    server: PathBuf,
    /// How many keys there are before.
    keys: usize,
    has_lost: AtomicBool,
}

/// Returns how many pre-auth keys the only tailnet has.
async fn count_keys(socket: &PathBuf) -> usize {
    let channel = GrpcChannel::admin_socket(socket);
    let mut tailnets = TailnetServiceClient::new(channel.clone());
    let listed = tailnets.list_tailnets(ListTailnetsRequest {}).await;
    let tailnet_id = listed.unwrap().into_inner().tailnets[0].id;
    let mut keys = PreAuthKeyServiceClient::new(channel);
    let listed = keys.list_pre_auth_keys(ListPreAuthKeysRequest { tailnet_id });
    listed.await.unwrap().into_inner().keys.len()
}

impl LossyLink {
    /// Listens as a server does.
    async fn start(installation: &TestInstallation, socket: PathBuf) -> Arc<Self> {
        let server = installation.path("admin.sock");
        let keys = count_keys(&server).await;
        let link = Arc::new(Self {
            server,
            keys,
            has_lost: AtomicBool::new(false),
        });
        let listener = UnixListener::bind(socket).unwrap();
        let accepting = Arc::clone(&link);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(Arc::clone(&accepting).carry(client));
            }
        });
        link
    }

    /// Carries bytes both ways, until the server answers that there is another key: then the connection is cut, once.
    async fn carry(self: Arc<Self>, client: UnixStream) {
        let server = UnixStream::connect(&self.server).await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let requests = tokio::io::copy(&mut from_client, &mut to_server);
        let answers = async {
            let mut part = vec![0; 64 << 10];
            while let Ok(length @ 1..) = from_server.read(&mut part).await {
                if count_keys(&self.server).await > self.keys
                    && !self.has_lost.swap(true, Ordering::SeqCst)
                {
                    return;
                }
                if to_client.write_all(&part[..length]).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            _ = requests => {}
            () = answers => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_answer_is_lost_is_made_once() {
    let installation = TestInstallation::new();
    let _served = installation.serve().await;
    installation
        .json(&["users", "create", "amira@example.com"])
        .await;
    let place = tempfile::tempdir().unwrap();
    let link = LossyLink::start(&installation, place.path().join("admin.sock")).await;
    let create = ["keys", "create", "--user", "amira@example.com"];
    let said = run(command(place.path()).args(create)).await;
    said.succeeded();
    assert!(said.out.starts_with("bowline-"), "{}", said.out);
    assert!(link.has_lost.load(Ordering::SeqCst));
    assert_eq!(count_keys(&link.server).await, link.keys + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_with_a_key_of_its_own_is_done_once() {
    let installation = TestInstallation::new();
    let _served = installation.serve().await;
    let key = "4f7c2a5e-6c1b-4c8e-9f0a-8f5d1b2c3d4e";
    let create = ["--idempotency-key", key, "groups", "create", "ops"];
    let made = installation.json(&create).await;
    assert_eq!(installation.json(&create).await, made);
    let groups = installation.json(&["groups", "list"]).await;
    assert_eq!(groups.as_array().unwrap().len(), 1);
    let other = ["--idempotency-key", key, "groups", "create", "dev"];
    let said = installation.bowline(&other).await;
    said.failed(1, "was used for another request");
    let key = "8f5d1b2c-6c1b-4c8e-9f0a-4f7c2a5e3d4e";
    let owner = ["users", "create", "amira@example.com"];
    installation.json(&owner).await;
    let create = [
        "--idempotency-key",
        key,
        "keys",
        "create",
        "--user",
        "amira@example.com",
    ];
    let create = [&create[..], &["--expires", "2d"]].concat();
    let made = installation.json(&create).await;
    assert_eq!(installation.json(&create).await, made);
    let short = ["--idempotency-key", "short", "groups", "create", "dev"];
    let said = installation.bowline(&short).await;
    assert_eq!(said.code, 2, "{}", said.error);
    assert!(said.error.contains("16 to 64"), "{}", said.error);
}
