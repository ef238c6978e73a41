//! A headscale server on a host, for networks that move away from it.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};
use bowline_test_headscale::{HeadscaleRelease, HeadscaleState};
use serde_json::Value;

use crate::{Host, Process, wait_for};

/// A running server: the program that `HEADSCALE` names, 0.29, with the settings and the policy that were recorded.
#[derive(Debug)]
pub struct Headscale {
    host: Host,
    program: PathBuf,
    // Before the directory, which holds its log.
    process: Option<Process>,
    state: HeadscaleState,
}

impl Headscale {
    /// Starts a server without nodes and with the users `alice`, `bob` and `carol`.
    ///
    /// # Errors
    ///
    /// When `HEADSCALE` names no program, which nothing here installs, or it does not come up.
    pub fn start(host: Host) -> Result<Self> {
        let program = std::env::var_os("HEADSCALE").map(PathBuf::from);
        let program = program.context("HEADSCALE names no program of headscale 0.29")?;
        let state = HeadscaleState::restore(HeadscaleRelease::V29)?.context("its state")?;
        fs::remove_file(state.file("db.sqlite"))?;
        let socket = format!("unix_socket: {}", state.file("headscale.sock").display());
        let config = fs::read_to_string(state.config())?;
        fs::write(
            state.config(),
            config.replace("unix_socket: headscale.sock", &socket),
        )?;
        let mut server = Self {
            host,
            program,
            process: None,
            state,
        };
        // It takes no policy with users whom it does not know yet.
        let policy = fs::read(server.state.file("policy.hujson"))?;
        fs::write(server.state.file("policy.hujson"), "{}")?;
        server.serve()?;
        for user in [
            &["users", "create", "alice"][..],
            &["users", "create", "bob", "--email", "bob@example.com"],
            &["users", "create", "carol", "--email", "carol@example.com"],
        ] {
            server.run(user)?;
        }
        server.stop()?;
        fs::write(server.state.file("policy.hujson"), policy)?;
        server.serve()?;
        Ok(server)
    }

    /// Returns its settings file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.state.config()
    }

    /// Makes a key of a user, by number in the order in which users were made.
    ///
    /// # Errors
    ///
    /// What the command says.
    pub fn key(&self, user: u32, options: &[&str]) -> Result<String> {
        let user = user.to_string();
        let create = ["preauthkeys", "create", "--user", &user, "--reusable"];
        let made = self.run(&[&create[..], options].concat())?;
        Ok(made["key"].as_str().context("no key")?.to_owned())
    }

    /// Registers a node that has no client.
    ///
    /// # Errors
    ///
    /// What the commands say.
    pub fn add_node(&self, user: &str, name: &str) -> Result<()> {
        let key = format!("hskey-authreq-{:0<24}", name.replace('-', "0"));
        self.run(&[
            "debug",
            "create-node",
            "--user",
            user,
            "--name",
            name,
            "--key",
            &key,
        ])?;
        self.run(&["auth", "register", "--user", user, "--auth-id", &key])?;
        Ok(())
    }

    /// Approves routes of a node, joined by commas.
    ///
    /// # Errors
    ///
    /// What the commands say.
    pub fn approve_routes(&self, name: &str, routes: &str) -> Result<()> {
        let nodes = self.run(&["nodes", "list"])?;
        let nodes = nodes.as_array().context("no nodes")?;
        let node = nodes.iter().find(|node| node["given_name"] == name);
        let number = node.context("no such node")?["id"].to_string();
        let number = number.trim_matches('"');
        self.run(&[
            "nodes",
            "approve-routes",
            "--identifier",
            number,
            "--routes",
            routes,
        ])?;
        Ok(())
    }

    /// Lets it end.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.terminate()?;
            wait_for("headscale ends", Duration::from_secs(20), || {
                process.has_ended().map(drop).ok_or_else(|| process.log())
            });
        }
        Ok(())
    }

    fn serve(&mut self) -> Result<()> {
        let log = self.state.file("headscale.log");
        let mut command = self.command();
        self.process = Some(Process::start(command.arg("serve"), &log)?);
        wait_for("headscale serves", Duration::from_secs(30), || {
            let answer = self.run(&["users", "list"]);
            answer.map(drop).map_err(|error| error.to_string())
        });
        Ok(())
    }

    fn command(&self) -> Command {
        let mut command = self.host.command(&self.program);
        command.arg("--config").arg(self.config());
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<Value> {
        let output = self
            .command()
            .args(["--output", "json"])
            .args(arguments)
            .output()?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            bail!("{arguments:?}: {}", String::from_utf8_lossy(&said));
        }
        Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
    }
}
