//! A real browser for tests: Chromium, driven by Playwright, with axe for what hinders people.
//!
//! A test says what a person does: goes to an address, presses what is called so, fills in a field. Each waits until the page
//! shows it, with a deadline. `driver.mjs` is the other half.

#![expect(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails where something is not as expected"
)]

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Mutex,
};

use bowline_test_servers::report_skipped;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A browser. Its methods fail the test when a page does not show what they need.
#[derive(Debug)]
pub struct TestChromium {
    process: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    _home: TempDir,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Ok(Value),
    Error(String),
}

impl TestChromium {
    /// Starts a browser; `None` when it is not installed and `CI` does not ask for it.
    ///
    /// `tests/run` puts Playwright and axe into the directory that `BROWSER_TOOLS_DIR` names.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_in(tempfile::tempdir().unwrap(), &[])
    }

    /// Starts a browser that trusts an authority of certificates beside those it comes with, and finds a host name at an
    /// address.
    ///
    /// # Panics
    ///
    /// When `certutil` can not put the authority into the browser's store.
    #[must_use]
    pub fn start_trusting(authority: &Path, host: &str, address: &str) -> Option<Self> {
        let home = tempfile::tempdir().unwrap();
        let store = home.path().join(".pki/nssdb");
        fs::create_dir_all(&store).unwrap();
        let store = format!("sql:{}", store.display());
        run_certutil(&["-d", &store, "-N", "--empty-password"]);
        let file = authority.display().to_string();
        run_certutil(&[
            "-d",
            &store,
            "-A",
            "-t",
            "C,,",
            "-n",
            "authority",
            "-i",
            &file,
        ]);
        let rules = format!("--host-resolver-rules=MAP {host} {address}");
        Self::start_in(home, &[&rules])
    }

    fn start_in(home: TempDir, arguments: &[&str]) -> Option<Self> {
        let Some((tools, chromium)) = find_tools() else {
            report_skipped("Chromium, Playwright or axe is not installed, see tests/run").unwrap();
            return None;
        };
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/driver.mjs");
        let mut process = Command::new("node")
            .args([&driver, &tools, &chromium])
            .args(arguments)
            .env("HOME", home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let browser = Self {
            process,
            pipes: Mutex::new((input, output)),
            _home: home,
        };
        browser.open();
        Some(browser)
    }

    /// Opens a window of a browser that knows no cookies.
    pub fn open(&self) {
        self.send::<()>(&json!({ "command": "open", "scripts": true }));
    }

    /// The same, with scripts off.
    pub fn open_without_scripts(&self) {
        self.send::<()>(&json!({ "command": "open", "scripts": false }));
    }

    /// Forgets the cookies. The passkey device stays.
    pub fn forget_cookies(&self) {
        self.send::<()>(&json!({ "command": "forget" }));
    }

    /// Takes the network away, or gives it back.
    pub fn set_connected(&self, connected: bool) {
        self.send::<()>(&json!({ "command": "connect", "connected": connected }));
    }

    /// Goes to an address, and returns the status of what it answers.
    pub fn go_to(&self, url: &str) -> u16 {
        self.send(&json!({ "command": "go", "url": url }))
    }

    /// Waits until the page has this heading.
    pub fn await_heading(&self, name: &str) {
        self.send::<()>(&json!({ "command": "await", "role": "heading", "name": name }));
    }

    /// Waits until the page has this button.
    pub fn await_button(&self, name: &str) {
        self.send::<()>(&json!({ "command": "await", "role": "button", "name": name }));
    }

    /// Waits until the page has this text.
    pub fn await_text(&self, text: &str) {
        self.send::<()>(&json!({ "command": "await", "text": text }));
    }

    /// Presses the button that is called so.
    pub fn press_button(&self, name: &str) {
        self.send::<()>(&json!({ "command": "press", "role": "button", "name": name }));
    }

    /// Follows the link that is called so.
    pub fn follow_link(&self, name: &str) {
        self.send::<()>(&json!({ "command": "press", "role": "link", "name": name }));
    }

    /// Fills in the field with this label.
    pub fn fill_field(&self, label: &str, text: &str) {
        self.send::<()>(&json!({ "command": "fill", "label": label, "text": text }));
    }

    /// Presses a key, such as "Tab".
    pub fn press_key(&self, key: &str) {
        self.send::<()>(&json!({ "command": "key", "key": key }));
    }

    /// Returns the text of what has the focus.
    #[must_use]
    pub fn read_focus(&self) -> String {
        self.send(&json!({ "command": "focused" }))
    }

    /// Returns the text that the page shows.
    #[must_use]
    pub fn read_text(&self) -> String {
        self.send(&json!({ "command": "text" }))
    }

    /// Returns the page's address.
    #[must_use]
    pub fn read_url(&self) -> String {
        self.send(&json!({ "command": "url" }))
    }

    /// Gives the window a passkey device that says yes to everything.
    pub fn add_passkey_device(&self) {
        self.send::<()>(&json!({ "command": "authenticator" }));
    }

    /// Asserts that the page hinders nobody and breaks no rule of its own, at two widths, light and dark. Where
    /// `SCREENSHOTS_DIR` names a directory, saves what it looks like there.
    pub fn inspect_page(&self, name: &str) {
        let problems: Vec<String> = self.send(&json!({ "command": "check" }));
        assert!(problems.is_empty(), "{name}: {}", problems.join("\n"));
        if let Some(directory) = env::var_os("SCREENSHOTS_DIR") {
            let prefix = PathBuf::from(directory).join(name);
            self.send::<()>(&json!({ "command": "screenshots", "prefix": prefix }));
        }
    }

    fn send<T: DeserializeOwned>(&self, command: &Value) -> T {
        let mut pipes = self.pipes.lock().unwrap();
        writeln!(pipes.0, "{command}").unwrap();
        let mut line = String::new();
        pipes.1.read_line(&mut line).unwrap();
        drop(pipes);
        match serde_json::from_str(&line).unwrap() {
            Answer::Ok(value) => serde_json::from_value(value).unwrap(),
            Answer::Error(problem) => panic!("{command}: {problem}"),
        }
    }
}

impl Drop for TestChromium {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn run_certutil(arguments: &[&str]) {
    let output = Command::new("certutil").args(arguments).output();
    let output = output.expect("certutil is installed, see tests/run");
    assert!(
        output.status.success(),
        "certutil {arguments:?}: {output:?}"
    );
}

/// Returns the directory with Playwright and axe, and the browser.
fn find_tools() -> Option<(PathBuf, PathBuf)> {
    let tools = PathBuf::from(env::var_os("BROWSER_TOOLS_DIR")?);
    let path = env::var_os("PATH")?;
    let chromium = env::split_paths(&path)
        .map(|directory| directory.join("chromium"))
        .find(|program| program.is_file())?;
    tools
        .join("node_modules/axe-core")
        .is_dir()
        .then_some((tools, chromium))
}
