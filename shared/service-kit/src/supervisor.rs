//! The service manager that started the process and waits to hear from it: systemd, for units of `Type=notify`.
//!
//! It names a socket in `NOTIFY_SOCKET`, and in `WATCHDOG_USEC` how long the process may be silent before it is killed and
//! started again. Each message is a datagram with lines such as `READY=1` (sd_notify(3)).

use std::{
    collections::HashMap,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

use tokio::time::sleep;

/// How much longer than the drain time an end may take: what is cut off still has to close.
const END: Duration = Duration::from_secs(10);

/// Who is told how the process fares; nobody, where it was started by something else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Supervisor {
    socket: Option<String>,
    /// How long the process may be silent.
    patience: Option<Duration>,
}

impl Supervisor {
    /// Returns the one that has started this process.
    #[expect(
        clippy::disallowed_methods,
        reason = "a service manager speaks by variables, which are no settings"
    )]
    pub(crate) fn of_process() -> Self {
        Self::named_by(std::env::vars(), std::process::id())
    }

    /// Returns the one that the variables of a process name.
    pub(crate) fn named_by(
        variables: impl IntoIterator<Item = (String, String)>,
        process: u32,
    ) -> Self {
        let mut found: HashMap<_, _> = variables.into_iter().collect();
        let watched = found.get("WATCHDOG_PID");
        // A process that was started by the one that is watched has its variables, too.
        let is_watched = watched.is_none_or(|watched| *watched == process.to_string());
        let patience = found.get("WATCHDOG_USEC");
        let patience = patience.and_then(|microseconds| microseconds.parse().ok());
        Self {
            socket: found.remove("NOTIFY_SOCKET"),
            patience: patience.filter(|_| is_watched).map(Duration::from_micros),
        }
    }

    /// Says that the process serves.
    pub(crate) fn report_ready(&self) {
        self.send("READY=1\nSTATUS=serving");
    }

    /// Says that the process ends, and for how long it may drain: the time that the unit gives it may be shorter.
    pub(crate) fn report_drain(&self, drain_time: Duration) {
        let (longest, seconds) = ((drain_time + END).as_micros(), drain_time.as_secs());
        self.send(&format!(
            "STOPPING=1\nSTATUS=draining, for {seconds} seconds at most\nEXTEND_TIMEOUT_USEC={longest}"
        ));
    }

    /// Says why the process can not go on.
    pub(crate) fn report_failure(&self, cause: &str) {
        let line = cause.replace('\n', " ");
        self.send(&format!("STATUS={line}"));
    }

    /// Says that the process lives, twice in the time that it may be silent, for ever. It says nothing while the runtime
    /// does not come to run this.
    pub(crate) async fn keep_reporting_life(self) {
        let Some(patience) = self.patience else {
            return;
        };
        loop {
            self.send("WATCHDOG=1");
            sleep(patience / 2).await;
        }
    }

    fn send(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = send_datagram(socket, message) {
            tracing::warn!(%error, socket, "the service manager can not be told how the process fares");
        }
    }
}

/// Sends a datagram to a socket: a path, or after an `@` a name that is in no file system.
fn send_datagram(socket: &str, message: &str) -> io::Result<()> {
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    // One that is not read must not hold up what the process is there for.
    sender.set_nonblocking(true)?;
    sender.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests;
