//! `bowline serve` on a host of a network, and the command line beside it.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use crate::{Host, Process, Sessions, WebBrowser, wait_for};

/// A server of one process.
#[derive(Debug)]
pub struct Server {
    host: Host,
    // Before the directory, which holds its log.
    process: Option<Process>,
    directory: TempDir,
    /// The URL clients are given.
    pub url: String,
    /// How many files it may have open, if not as many as this process.
    files: Option<u32>,
    /// The certificate authority that it trusts, if not those of this machine.
    trusted: Option<PathBuf>,
}

/// Returns a program under test: they are built beside the tests.
///
/// # Errors
///
/// When it is not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let directory = own
        .parent()
        .and_then(|deps| deps.parent())
        .context("no target directory")?;
    let path = directory.join(name);
    if !path.is_file() {
        bail!(
            "{} is not built: cargo build --workspace --bins --tests",
            path.display()
        );
    }
    Ok(path)
}

impl Server {
    /// Starts a server that speaks plain HTTP, with further settings for its gateway.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start(host: Host, gateway: &str) -> Result<Self> {
        Self::start_at(host, "http", gateway)
    }

    /// Starts a server that speaks TLS with certificates of its own making, as a first start does.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start_tls(host: Host) -> Result<Self> {
        Self::start_at(host, "https", "")
    }

    /// The same for a server that is reached by a host name.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start_named(host: Host, name: &str) -> Result<Self> {
        let (listen, url) = (
            format!("{}:8080", host.address),
            format!("https://{name}:8080"),
        );
        Self::start_with(host, &listen, url, "", None)
    }

    /// Returns the certificate authority that a server speaking TLS has made.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("tls/ca.pem")
    }

    /// Starts a server that only a proxy on its host reaches, at 127.0.0.1:8080; clients are given the proxy's URL.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start_behind(url: &str, gateway: &str) -> Result<Self> {
        Self::start_with(
            Host::here(),
            "127.0.0.1:8080",
            url.to_owned(),
            gateway,
            None,
        )
    }

    /// Starts a server that speaks plain HTTP at another port, for a test that runs inside the server's host already.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start_here(port: u16) -> Result<Self> {
        let host = Host::here();
        let listen = format!("{}:{port}", host.address);
        let url = format!("http://{listen}");
        Self::start_with(host, &listen, url, "", None)
    }

    /// The same with further settings, for a server that trusts one certificate authority.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start_trusting(port: u16, settings: &str, authority: PathBuf) -> Result<Self> {
        let mut server = Self::start_here(port)?;
        let path = server.directory.path().join("bowline.toml");
        let text = fs::read_to_string(&path)? + settings;
        fs::write(&path, text)?;
        server.trusted = Some(authority);
        server.restart()?;
        Ok(server)
    }

    /// Starts a server that speaks plain HTTP and may not have more files open.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn start_with_files(host: Host, files: u32) -> Result<Self> {
        let listen = format!("{}:8080", host.address);
        let url = format!("http://{listen}");
        Self::start_with(host, &listen, url, "", Some(files))
    }

    fn start_at(host: Host, scheme: &str, gateway: &str) -> Result<Self> {
        let listen = format!("{}:8080", host.address);
        let url = format!("{scheme}://{listen}");
        Self::start_with(host, &listen, url, gateway, None)
    }

    fn start_with(
        host: Host,
        listen: &str,
        url: String,
        gateway: &str,
        files: Option<u32>,
    ) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let address = &host.address;
        let settings = format!(
            "drain_seconds = 3\n\
             [gateway]\nlisten = \"{listen}\"\npublic_url = \"{url}\"\n{gateway}\n\
             [relay]\nlisten = \"{address}:8444\"\nstun_listen = \"{address}:3478\"\n\
             [telemetry]\nlisten = \"127.0.0.1:9090\"\nlog_filter = \"info,bowline=debug\"\n"
        );
        fs::write(directory.path().join("bowline.toml"), settings)?;
        let mut server = Self {
            host,
            directory,
            process: None,
            url,
            files,
            trusted: None,
        };
        server.restart()?;
        Ok(server)
    }

    /// Starts it again, after `kill -9` if it runs.
    ///
    /// # Errors
    ///
    /// When it does not come up.
    pub fn restart(&mut self) -> Result<()> {
        self.process = None;
        let mut command = match self.files {
            None => self.host.command(program("bowline")?),
            Some(files) => {
                let mut command = self.host.command("sh");
                let limited = format!("ulimit -n {files} && ulimit -Sn 256 && exec \"$0\" \"$@\"");
                command.args(["-c", &limited]).arg(program("bowline")?);
                command
            }
        };
        if let Some(authority) = &self.trusted {
            command.env("SSL_CERT_FILE", authority);
        }
        command
            .arg("--state-dir")
            .arg(self.directory.path())
            .arg("serve");
        let log = self.directory.path().join("serve.log");
        drop(fs::remove_file(&log));
        let process = Process::start(&mut command, &log)?;
        wait_for("the server serves", Duration::from_secs(20), || {
            let log = process.log();
            if log.contains("Bowline serves") {
                Ok(())
            } else {
                Err(log)
            }
        });
        self.process = Some(process);
        Ok(())
    }

    /// Returns its process id, where it runs.
    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().map_or(0, Process::id)
    }

    /// Ends it at once.
    pub fn kill9(&mut self) {
        self.process = None;
    }

    /// Returns what it has written since it was started last.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// Returns the map sessions of a node since the server was started last.
    #[must_use]
    pub fn sessions(&self, node: u64) -> Sessions {
        Sessions::of(node, &self.log())
    }

    /// Says whether the registry has stored a text, such as the address of a node that nobody is shown.
    #[must_use]
    pub fn has_stored(&self, text: &str) -> bool {
        ["key-registry.db", "key-registry.db-wal"]
            .iter()
            .any(|file| {
                let stored = fs::read(self.directory.path().join(file)).unwrap_or_default();
                stored
                    .windows(text.len())
                    .any(|part| part == text.as_bytes())
            })
    }

    /// Runs the command line and returns its JSON.
    ///
    /// # Errors
    ///
    /// What the command says.
    pub fn bowline(&self, arguments: &[&str]) -> Result<Value> {
        let output = Command::new(program("bowline")?)
            .arg("--state-dir")
            .arg(self.directory.path())
            .args(["--output", "json"])
            .args(arguments)
            .output()?;
        if !output.status.success() {
            bail!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Makes a key for any number of nodes of the first user.
    ///
    /// # Errors
    ///
    /// What the command says.
    pub fn key(&self) -> Result<String> {
        let answer = self.bowline(&["keys", "create", "--user", "owner@home", "--reusable"])?;
        Ok(answer["secret"].as_str().context("no secret")?.to_owned())
    }

    /// Opens a browser in which a person is signed in, by a link that works once.
    ///
    /// # Errors
    ///
    /// What the command says, or the page.
    pub fn sign_in(&self, login_name: &str) -> Result<WebBrowser<'_>> {
        let made = self.bowline(&["invitations", "create", login_name])?;
        let link = made["link"].as_str().context("no link")?;
        let browser = WebBrowser::new(&self.host, &self.url)?;
        let page = browser.submit(link, &[])?;
        anyhow::ensure!(page.contains("Your devices"), "{page}");
        Ok(browser)
    }

    /// Puts a key policy in force.
    ///
    /// # Errors
    ///
    /// What the command says.
    pub fn set_key_policy(&self, text: &str) -> Result<()> {
        let file = self.directory.path().join("key-policy.json");
        fs::write(&file, text)?;
        let file = file.display().to_string();
        self.bowline(&["key-policy", "set", &file]).map(drop)
    }

    /// Puts a policy in force.
    ///
    /// # Errors
    ///
    /// What the command says.
    pub fn set_policy(&self, text: &str) -> Result<()> {
        self.set_policy_of("home", text)
    }

    /// Puts a policy of one of several tailnets in force.
    ///
    /// # Errors
    ///
    /// What the command says.
    pub fn set_policy_of(&self, tailnet: &str, text: &str) -> Result<()> {
        let file = self.directory.path().join("policy.hujson");
        fs::write(&file, text)?;
        let file = file.display().to_string();
        self.bowline(&["policy", "set", &file, "--tailnet", tailnet])
            .map(drop)
    }
}
