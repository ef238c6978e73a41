//! OpenSSH between peers, through the tailnet.

use std::process::Command;

use anyhow::Result;

use super::{Client, await_login_address};
use crate::Process;

impl Client {
    /// Runs a command on a peer by OpenSSH through the tailnet; returns whether it went well, and all that was said.
    ///
    /// # Errors
    ///
    /// When `ssh` can not be run.
    pub fn ssh(&self, account: &str, address: &str, command: &str) -> Result<(bool, String)> {
        let output = self.ssh_command(account, address, command, 20).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        Ok((output.status.success(), text))
    }

    /// Begins to run a command on a peer, where a rule wants the connection checked. Returns the address that the person is
    /// shown, and the waiting command.
    ///
    /// # Errors
    ///
    /// When `ssh` can not be run.
    pub fn begin_ssh(
        &self,
        account: &str,
        address: &str,
        command: &str,
    ) -> Result<(String, Process)> {
        let log = self.new_log();
        let waiting = Process::start(&mut self.ssh_command(account, address, command, 120), &log)?;
        Ok((await_login_address(&waiting), waiting))
    }

    fn ssh_command(&self, account: &str, address: &str, command: &str, seconds: u32) -> Command {
        let nc = self.tailscale(&["nc", address, "22"]);
        let words = std::iter::once(nc.get_program()).chain(nc.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        let mut ssh = Command::new("timeout");
        ssh.arg(seconds.to_string())
            .args(["ssh", "-o", "BatchMode=yes"])
            .args(["-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null"])
            .arg("-o")
            .arg(format!("ProxyCommand={}", words.join(" ")))
            .arg(format!("{account}@{address}"))
            .arg(command)
            .env("HOME", self.directory.path());
        ssh
    }
}
