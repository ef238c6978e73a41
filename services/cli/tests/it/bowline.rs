//! Running the command.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// Time by which whatever a test waits for has happened, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A state directory, and the settings in it.
pub(crate) struct TestInstallation {
    directory: TempDir,
}

/// What a finished command has left.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl TestInstallation {
    /// Makes one whose server listens on free ports of the loopback address, speaks plain HTTP and relays nothing.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let installation = Self { directory };
        installation.set("127.0.0.1:0", "127.0.0.1:0", "");
        installation
    }

    /// Sets where clients connect, where metrics are served, and more of the gateway's table.
    pub(crate) fn set(&self, listen: &str, telemetry: &str, gateway: &str) {
        let settings = format!(
            "drain_seconds = 1\n\
             [gateway]\nlisten = \"{listen}\"\npublic_url = \"http://127.0.0.1\"\n{gateway}\n\
             [relay]\nenabled = false\n\
             [telemetry]\nlisten = \"{telemetry}\"\nlog_filter = \"off\"\n"
        );
        std::fs::write(self.path("bowline.toml"), settings).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs a command to its end.
    pub(crate) async fn bowline(&self, arguments: &[&str]) -> Said {
        run(command(self.directory()).args(arguments)).await
    }

    /// Runs a command that succeeds and returns its JSON.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let said = run(command(self.directory())
            .args(["--output", "json"])
            .args(arguments))
        .await;
        assert_eq!((said.code, &*said.error), (0, ""), "{arguments:?}");
        serde_json::from_str(&said.out).unwrap()
    }

    /// Starts the server; it serves when this returns, until it is dropped.
    pub(crate) async fn serve(&self) -> TestServer {
        let served = self.try_serve().await;
        served.unwrap_or_else(|said| panic!("it does not serve: {said}"))
    }

    /// Starts the server; returns what it says instead, if it does not serve.
    pub(crate) async fn try_serve(&self) -> Result<TestServer, String> {
        await_greeting(command(self.directory()).arg("serve")).await
    }

    /// Starts a server that trusts the certificate authorities in a file.
    pub(crate) async fn serve_trusting(&self, authorities: &Path) -> TestServer {
        let mut command = command(self.directory());
        let served = await_greeting(command.env("SSL_CERT_FILE", authorities).arg("serve")).await;
        served.unwrap_or_else(|said| panic!("it does not serve: {said}"))
    }
}

/// Starts a server; returns what it says instead, if it does not serve.
async fn await_greeting(command: &mut Command) -> Result<TestServer, String> {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let greeting = async {
        let mut greeting = String::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            greeting += &line;
            greeting += "\n";
            if line.contains("keys create") {
                return Some(greeting);
            }
        }
        None
    };
    if let Some(greeting) = timeout(SOON, greeting).await.unwrap() {
        return Ok(TestServer { greeting, child });
    }
    let mut said = String::new();
    let mut errors = child.stderr.take().unwrap();
    errors.read_to_string(&mut said).await.unwrap();
    Err(said)
}

/// A server that runs.
pub(crate) struct TestServer {
    pub(crate) greeting: String,
    child: Child,
}

impl TestServer {
    /// Ends it at once.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Lets it drain and end; returns its log.
    pub(crate) async fn end(mut self) -> String {
        let number = self.child.id().unwrap().to_string();
        let signal = Command::new("kill").args(["-TERM", &number]).status();
        assert!(signal.await.unwrap().success());
        let ended = timeout(SOON, self.child.wait()).await.unwrap();
        assert!(ended.unwrap().success());
        let mut log = String::new();
        let mut errors = self.child.stderr.take().unwrap();
        errors.read_to_string(&mut log).await.unwrap();
        log
    }
}

/// Returns a command without the variables of whoever runs the tests.
pub(crate) fn command(state_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bowline"));
    for (name, _) in std::env::vars() {
        if name.starts_with("BOWLINE_") {
            command.env_remove(name);
        }
    }
    command
        .arg("--state-dir")
        .arg(state_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

pub(crate) async fn run(command: &mut Command) -> Said {
    let output = timeout(SOON, command.output()).await.expect("it ends");
    let Output {
        status,
        stdout,
        stderr,
    } = output.unwrap();
    Said {
        code: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        error: String::from_utf8(stderr).unwrap(),
    }
}

impl Said {
    /// Checks that it succeeded.
    #[track_caller]
    pub(crate) fn succeeded(&self) {
        assert_eq!((self.code, &*self.error), (0, ""), "{}", self.out);
    }

    /// Checks that it failed with this code and one line that has this in it.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, part: &str) {
        let Self { out, error, .. } = self;
        assert_eq!((self.code, &**out), (code, ""), "{error}");
        assert!(
            error.starts_with("bowline: ") && error.contains(part),
            "{error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}
