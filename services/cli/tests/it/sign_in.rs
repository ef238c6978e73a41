//! A person logs in for the command in a browser, which acts for the person from then on.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Stdio};

use bowline_providers::{Page, TestBrowser};
use bowline_test_oidc_provider::{CLIENT_ID, TestOidcProvider};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines},
    process::{Child, ChildStderr},
};

use crate::{
    bowline::{SOON, Said, command, run},
    tokens::TestAdministration,
};

/// A command that waits for its person.
struct WaitingCommand {
    child: Child,
    errors: Lines<BufReader<ChildStderr>>,
    /// The address that it shows, with the code.
    page: String,
    code: String,
}

struct TestPerson {
    server: TestAdministration,
    provider: TestOidcProvider,
    connection: String,
    browser: TestBrowser,
}

impl TestPerson {
    async fn start() -> Self {
        let server = TestAdministration::start().await;
        let provider = TestOidcProvider::start().await;
        let secret = server.write("secret", "secret");
        let create = [
            "connections",
            "create",
            "oidc",
            "Corp",
            "--issuer",
            provider.issuer(),
            "--client-id",
            CLIENT_ID,
            "--client-secret-file",
            &secret,
        ];
        let made = server.installation.json(&create).await;
        let browser = TestBrowser::open_trusting(server.installation.path("tls/ca.pem"));
        Self {
            connection: made["id"].to_string(),
            server,
            provider,
            browser,
        }
    }

    fn origin(&self) -> String {
        format!("https://{}", self.server.public)
    }

    fn session_file(&self) -> PathBuf {
        let directory = self.server.installation.path("state/bowline/sessions");
        directory.join(&self.server.address)
    }

    /// Returns the command as a person gives it, without naming a token.
    fn command(&self) -> tokio::process::Command {
        let mut asked = command(self.server.installation.directory());
        asked
            .env("XDG_STATE_HOME", self.server.installation.path("state"))
            .args(["--address", &self.server.address, "--ca"])
            .arg(self.server.installation.path("tls/ca.pem"));
        asked
    }

    async fn run(&self, arguments: &[&str]) -> Said {
        run(self.command().args(arguments)).await
    }

    async fn begin_sign_in(&self) -> WaitingCommand {
        let mut asked = self.command();
        asked.args(["--output", "json", "sign-in", &self.origin()]);
        asked.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = asked.spawn().unwrap();
        let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = tokio::time::timeout(SOON, errors.next_line()).await;
        let line = line.unwrap().unwrap().unwrap();
        let page = line
            .strip_prefix("Open ")
            .unwrap()
            .split(' ')
            .next()
            .unwrap();
        WaitingCommand {
            page: page.to_owned(),
            code: page.rsplit_once('=').unwrap().1.to_owned(),
            child,
            errors,
        }
    }

    /// Goes from the address that the command shows to the page with the two buttons.
    fn log_in(&self, page: &str) -> Page {
        let origin = self.origin();
        let found = self.browser.get(page);
        assert_eq!(found.status, 303, "{}", found.body);
        let login = format!("{origin}{}", found.location);
        let shown = self.browser.get(&login);
        shown.assert_shows(200, "A program wants to act for you");
        let fields = [("connection", self.connection.as_str())];
        let sent = self.browser.post(&login, &origin, &fields);
        let url = sent.attribute("content=\"0; url=");
        let answer = self.provider.log_in(&url);
        let back = format!("{origin}/login/callback?state={answer}&code=code");
        let back = self.browser.get(&back);
        assert_eq!(back.status, 303, "{}", back.body);
        self.browser.get(&format!("{origin}{}", back.location))
    }

    fn press(&self, page: &Page, decision: &str) -> Page {
        let origin = self.origin();
        let url = format!("{origin}{}", page.attribute("action=\""));
        let token = page.attribute("name=\"token\" value=\"");
        let fields = [("token", token.as_str()), ("decision", decision)];
        let pressed = self.browser.post(&url, &origin, &fields);
        self.browser.get(&format!("{origin}{}", pressed.location))
    }
}

impl WaitingCommand {
    /// Returns the exit code, the answer, and what else it has said.
    async fn finish(mut self) -> (i32, serde_json::Value, String) {
        let mut said = String::new();
        while let Some(line) = self.errors.next_line().await.unwrap() {
            said.push_str(&line);
        }
        let mut answer = String::new();
        let mut output = self.child.stdout.take().unwrap();
        output.read_to_string(&mut answer).await.unwrap();
        let status = self.child.wait().await.unwrap();
        let answer = serde_json::from_str(&answer).unwrap_or_default();
        (status.code().unwrap(), answer, said)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn person_signs_in_for_the_command_in_a_browser() {
    let person = TestPerson::start().await;
    person
        .run(&["users", "list"])
        .await
        .failed(1, "bowline sign-in");
    let waiting = person.begin_sign_in().await;
    let page = person.log_in(&waiting.page);
    page.assert_shows(200, "Is this your program?");
    page.assert_shows(200, &waiting.code);
    page.assert_shows(200, "127.0.0.1");
    person
        .press(&page, "approve")
        .assert_shows(200, "The program goes on");
    let (code, answer, said) = waiting.finish().await;
    assert_eq!(code, 0, "{said}");
    let file = person.session_file();
    assert_eq!(answer["token_file"], file.display().to_string());
    assert!(!said.contains("bowline-session"), "{said}");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // The person is a member, and does what members do.
    person.run(&["users", "list"]).await.failed(4, "member");
    let installation = &person.server.installation;
    installation
        .json(&["users", "set-role", "kim@example.com", "admin"])
        .await;
    let promoted = async { while person.run(&["users", "list"]).await.code != 0 {} };
    tokio::time::timeout(SOON, promoted).await.unwrap();
    let sessions = installation.json(&["sessions", "list"]).await;
    let agent = sessions[0]["user_agent"].as_str().unwrap();
    assert!(agent.contains("bowline"), "{sessions}");

    // Another server is not given it.
    let other = ["--address", "127.0.0.1:1", "users", "list"];
    let mut elsewhere = command(installation.directory());
    elsewhere.env("XDG_STATE_HOME", installation.path("state"));
    run(elsewhere.args(other))
        .await
        .failed(1, "bowline sign-in");
    person.run(&["sign-out"]).await.succeeded();
    assert!(!file.exists());
    assert_eq!(
        installation.json(&["sessions", "list"]).await,
        serde_json::json!([])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn person_turns_a_program_away() {
    let person = TestPerson::start().await;
    let waiting = person.begin_sign_in().await;
    // Typed by hand, with another code before it.
    let device = format!("{}/device", person.origin());
    person
        .browser
        .get(&device)
        .assert_shows(200, "Type the code");
    let wrong = person.browser.get(&format!("{device}?user_code=BCDF-BCDF"));
    wrong.assert_shows(404, "There is no program with this code");
    let typed = format!("{device}?user_code={}", waiting.code.to_lowercase());
    let page = person.log_in(&typed);
    person
        .press(&page, "deny")
        .assert_shows(200, "The program was turned away");
    let (code, _, said) = waiting.finish().await;
    assert_eq!(code, 4, "{said}");
    assert!(
        said.contains("the person does not want this program"),
        "{said}"
    );
    assert!(!person.session_file().exists());
    // The code is used up.
    person
        .browser
        .get(&typed)
        .assert_shows(404, "There is no program");
}

#[tokio::test(flavor = "multi_thread")]
async fn token_endpoint_says_what_is_wrong_as_the_standard_does() {
    let server = TestAdministration::start().await;
    let begin = "/oauth/device_authorization";
    for (path, form, expected, error) in [
        (begin, "", "400", "invalid_request"),
        (begin, "client_id=x&scope=all", "400", "invalid_scope"),
        ("/oauth/token", "", "400", "invalid_request"),
        (
            "/oauth/token",
            "grant_type=urn:ietf:params:oauth:grant-type:device_code",
            "400",
            "invalid_request",
        ),
        (
            "/oauth/token",
            "grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code=x",
            "400",
            "invalid_grant",
        ),
        (
            "/oauth/revoke",
            "token=bowline-api-x",
            "400",
            "unsupported_token_type",
        ),
        ("/oauth/revoke", "", "400", "invalid_request"),
    ] {
        let (code, answer) = server.post(path, form, &[]).await;
        assert_eq!(
            (&*code, &answer["error"]),
            (expected, &error.into()),
            "{path} {form}: {answer}"
        );
    }
    let (code, begun) = server.post(begin, "client_id=tool", &[]).await;
    assert_eq!(
        (&*code, &begun["expires_in"], &begun["interval"]),
        ("200", &900.into(), &2.into())
    );
    let form = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code={}",
        begun["device_code"].as_str().unwrap()
    );
    let mut errors = Vec::new();
    for _ in 0..8 {
        let (code, answer) = server.post("/oauth/token", &form, &[]).await;
        assert_eq!(code, "400", "{answer}");
        errors.push(answer["error"].as_str().unwrap().to_owned());
    }
    assert_eq!(errors[0], "authorization_pending");
    assert!(errors.contains(&"slow_down".to_owned()), "{errors:?}");
    // A session that has ended is no failure.
    let token = format!(
        "token=bowline-session-{}-{}",
        "0".repeat(12),
        "0".repeat(64)
    );
    let (code, _) = server.post("/oauth/revoke", &token, &[]).await;
    assert_eq!(code, "200");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_sessions_has_to_wait() {
    let server = TestAdministration::start().await;
    let mut codes = Vec::new();
    for guess in 0..25 {
        let token = format!("token=bowline-session-{guess:012}-{}", "0".repeat(64));
        let (code, _) = server.post("/oauth/revoke", &token, &[]).await;
        codes.push(code);
    }
    assert_eq!(codes[0], "200");
    assert_eq!(codes[24], "429", "{codes:?}");
}

#[tokio::test]
async fn file_of_an_api_key_is_not_written_over() {
    let server = TestAdministration::start().await;
    let (_, key) = server.new_key("owner@home", "all").await;
    let url = format!("https://{}", server.public);
    let signed_in = server.by_token(&key, &["sign-in", &url]).await;
    signed_in.failed(1, "no session");
    server
        .by_token(&key, &["sign-out"])
        .await
        .failed(1, "no session");
    server.by_token(&key, &["users", "list"]).await.succeeded();
    let file = server.installation.path("new").display().to_string();
    let plain = server
        .by_token(&file, &["sign-in", "http://192.0.2.1"])
        .await;
    plain.failed(4, "https");
}
