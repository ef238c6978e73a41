//! People and programs that administer at the administration address, with the real server and the real command.

use std::{net::TcpListener, process::Stdio};

use tokio::io::AsyncWriteExt as _;

use crate::bowline::{Said, TestInstallation, command, run};

/// Returns two addresses that nobody listens at, at this moment.
fn free_addresses() -> [String; 2] {
    let sockets = [(), ()].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().to_string())
}

/// A server with an administration address.
pub(crate) struct TestAdministration {
    pub(crate) installation: TestInstallation,
    pub(crate) address: String,
    pub(crate) public: String,
    _server: crate::bowline::TestServer,
}

impl TestAdministration {
    pub(crate) async fn start() -> Self {
        let installation = TestInstallation::new();
        let settings = installation.path("bowline.toml");
        let text = std::fs::read_to_string(&settings).unwrap();
        loop {
            let [address, public] = free_addresses();
            let text = text.replacen("127.0.0.1:0", &public, 1).replacen(
                "http://127.0.0.1",
                &format!("https://{public}"),
                1,
            );
            let more = format!(
                "[admin]\nlisten = \"{address}\"\n[identity]\nprovider_networks = [\"127.0.0.0/8\"]\n"
            );
            std::fs::write(&settings, text + &more).unwrap();
            match installation.try_serve().await {
                Ok(server) => {
                    return Self {
                        installation,
                        address,
                        public,
                        _server: server,
                    };
                }
                // Another test was faster.
                Err(said) => assert!(said.contains("in use"), "{said}"),
            }
        }
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.installation.path(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Makes an API key by the admin socket, and returns its id and the file it is in.
    pub(crate) async fn new_key(&self, user: &str, scope: &str) -> (String, String) {
        let create = ["api-keys", "create", "--user", user, "--scope", scope];
        let made = self.installation.json(&create).await;
        let secret = made["secret"].as_str().unwrap();
        (
            made["key"]["id"].as_str().unwrap().to_owned(),
            self.write(user, secret),
        )
    }

    /// Runs a command with a token.
    pub(crate) async fn by_token(&self, file: &str, arguments: &[&str]) -> Said {
        let authority = self.installation.path("tls/ca.pem");
        run(command(self.installation.directory())
            .args(["--address", &self.address, "--token-file", file, "--ca"])
            .arg(authority)
            .args(["--output", "json"])
            .args(arguments))
        .await
    }

    /// Posts a form to the public address, as programs do, and returns the status and the answer.
    pub(crate) async fn post(
        &self,
        path: &str,
        form: &str,
        more: &[&str],
    ) -> (String, serde_json::Value) {
        let mut curl = tokio::process::Command::new("curl");
        curl.args([
            "-sS",
            "-w",
            "\n%{http_code}",
            "--data-binary",
            "@-",
            "--cacert",
        ])
        .arg(self.installation.path("tls/ca.pem"))
        .args(more)
        .arg(format!("https://{}{path}", self.public))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
        let mut child = curl.spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(form.as_bytes()).await.unwrap();
        drop(input);
        let output = child.wait_with_output().await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (body, code) = text.rsplit_once('\n').unwrap();
        (
            code.to_owned(),
            serde_json::from_str(body).unwrap_or_default(),
        )
    }
}

#[tokio::test]
async fn person_with_a_key_administers_as_far_as_role_and_scope_go() {
    let server = TestAdministration::start().await;
    let owner = "owner@home";
    let (_, all) = server.new_key(owner, "all").await;
    server
        .by_token(&all, &["users", "create", "mia@example.com"])
        .await
        .succeeded();
    server
        .by_token(
            &all,
            &["users", "create", "ida@example.com", "--role", "it-admin"],
        )
        .await
        .succeeded();
    server.by_token(&all, &["nodes", "list"]).await.succeeded();
    let policy = server.write("policy.hujson", "{\"acls\": []}");
    server
        .by_token(&all, &["policy", "set", &policy])
        .await
        .succeeded();
    let trail = server.by_token(&all, &["audit", "list"]).await;
    assert!(
        trail.out.contains("user:owner@home/api-key:"),
        "{}",
        trail.out
    );
    // The gateway says where the program is.
    assert!(
        trail.out.contains("\"source\": \"127.0.0.1\""),
        "{}",
        trail.out
    );
    // What is for operators stays theirs, and another tailnet is nobody's.
    server
        .by_token(&all, &["tailnets", "create", "more"])
        .await
        .failed(4, "operators");
    server
        .by_token(&all, &["nodes", "list", "--tailnet", "more"])
        .await
        .failed(3, "\"home\" alone");

    let (_, member) = server.new_key("mia@example.com", "all").await;
    server
        .by_token(&member, &["users", "list"])
        .await
        .failed(4, "member");
    let (id, it_admin) = server.new_key("ida@example.com", "all").await;
    server
        .by_token(
            &it_admin,
            &["users", "set-role", "mia@example.com", "admin"],
        )
        .await
        .failed(4, "it-admin");
    server
        .by_token(&it_admin, &["policy", "set", &policy])
        .await
        .failed(4, "it-admin");
    server
        .by_token(&it_admin, &["users", "list"])
        .await
        .succeeded();
    server.installation.json(&["api-keys", "revoke", &id]).await;
    let ended = async { while server.by_token(&it_admin, &["users", "list"]).await.code == 0 {} };
    tokio::time::timeout(crate::bowline::SOON, ended)
        .await
        .unwrap();
}

#[tokio::test]
async fn program_gets_tokens_and_administers_with_them() {
    let server = TestAdministration::start().await;
    let create = [
        "oauth-clients",
        "create",
        "--scope",
        "users:read",
        "--scope",
        "dns",
    ];
    let made = server.installation.json(&create).await;
    let (id, secret) = (
        made["client"]["id"].as_str().unwrap(),
        made["secret"].as_str().unwrap(),
    );
    let form = format!(
        "grant_type=client_credentials&client_id={id}&client_secret={secret}&scope=users:read"
    );
    let (code, token) = server.post("/oauth/token", &form, &[]).await;
    assert_eq!(
        (
            &*code,
            &token["token_type"],
            &token["expires_in"],
            &token["scope"]
        ),
        ("200", &"Bearer".into(), &3600.into(), &"users:read".into())
    );
    let file = server.write("token", token["access_token"].as_str().unwrap());
    server.by_token(&file, &["users", "list"]).await.succeeded();
    server
        .by_token(&file, &["dns", "override", "on"])
        .await
        .failed(4, "dns");
    let basic = ["--user", &format!("{id}:{secret}")[..]];
    let (code, all) = server
        .post("/oauth/token", "grant_type=client_credentials", &basic)
        .await;
    assert_eq!((&*code, &all["scope"]), ("200", &"users:read dns".into()));
    for (form, expected, error) in [
        (format!("{form}+policy_file"), "400", "invalid_scope"),
        (form.replace(secret, "nonsense"), "401", "invalid_client"),
        (
            "grant_type=password".to_owned(),
            "400",
            "unsupported_grant_type",
        ),
    ] {
        let (code, answer) = server.post("/oauth/token", &form, &[]).await;
        assert_eq!(
            (&*code, &answer["error"]),
            (expected, &error.into()),
            "{answer}"
        );
    }
    let trail = server.installation.json(&["audit", "list"]).await;
    let made = trail
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["action"] == "access_token.create");
    assert!(made.clone().count() == 2 && !trail.to_string().contains(secret));
    server
        .installation
        .json(&["oauth-clients", "revoke", id])
        .await;
    let ended = async { while server.by_token(&file, &["users", "list"]).await.code == 0 {} };
    tokio::time::timeout(crate::bowline::SOON, ended)
        .await
        .unwrap();
    let (code, _) = server.post("/oauth/token", &form, &[]).await;
    assert_eq!(code, "401");
}

#[tokio::test]
async fn administration_address_takes_nothing_without_a_token() {
    let server = TestAdministration::start().await;
    let none = server.write("none", "bowline-api-000000000000-00");
    server
        .by_token(&none, &["users", "list"])
        .await
        .failed(4, "no token");
    let without = run(command(server.installation.directory()).args([
        "--address",
        &server.address,
        "users",
        "list",
    ]))
    .await;
    without.failed(1, "--token-file");
    let no_address = run(command(server.installation.directory()).args([
        "--token-file",
        &none,
        "users",
        "list",
    ]))
    .await;
    no_address.failed(1, "--address");
    // It speaks gRPC and nothing else.
    let url = format!("https://{}", server.address);
    let authority = server.installation.path("tls/ca.pem");
    let mut curl = tokio::process::Command::new("curl");
    curl.arg("-sS").arg("--cacert").arg(authority).arg(url);
    let said = String::from_utf8(curl.output().await.unwrap().stdout).unwrap();
    assert!(said.contains("administration address"), "{said}");
}
