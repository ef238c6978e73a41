//! A TCP connection through the tailnet that stays open.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::Client;

/// How long an answer may take: the devices may have to agree on new keys first.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to a peer that answers each line.
#[derive(Debug)]
pub struct LineStream {
    child: Child,
    writer: ChildStdin,
    lines: mpsc::Receiver<String>,
}

impl LineStream {
    /// Sends a line, and returns what the peer answers.
    ///
    /// # Errors
    ///
    /// When the connection has ended, or nothing comes.
    pub fn exchange(&mut self, line: &str) -> Result<String> {
        writeln!(self.writer, "{line}").context("the connection has ended")?;
        let answer = self.lines.recv_timeout(PATIENCE);
        answer.context("nothing comes back on the connection")
    }
}

impl Drop for LineStream {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Client {
    /// Opens a TCP connection to a peer through the tailnet.
    ///
    /// # Errors
    ///
    /// When the client's command can not be started.
    pub fn open_stream(&self, address: &str, port: u16) -> Result<LineStream> {
        let mut command = self.tailscale(&["nc", address, &port.to_string()]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn()?;
        let writer = child.stdin.take().context("no input")?;
        let reader = BufReader::new(child.stdout.take().context("no output")?);
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(LineStream {
            child,
            writer,
            lines,
        })
    }
}
