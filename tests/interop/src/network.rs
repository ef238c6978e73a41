//! Network namespaces joined by a bridge.

mod sweeper;

use std::{
    process::Command,
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Result, bail};
use bowline_test_servers::report_skipped;

use crate::{client::Release, rust_client};

pub use self::sweeper::sweep;

/// A network of its own: a switch and hosts around it.
#[derive(Debug)]
pub struct TestNetwork {
    name: String,
    hosts: AtomicU32,
}

/// A host of a network: a network namespace with one interface.
#[derive(Clone, Debug)]
pub struct Host {
    namespace: String,
    switch: String,
    port: String,
    /// Its address on the network.
    pub address: String,
}

/// Returns what real clients lack here.
fn why_clients_can_not_run() -> Option<&'static str> {
    if !Release::Current.is_built() || !Release::Nacl.is_built() {
        Some("the clients are not built: tests/run builds them")
    } else if !rust_client::is_built() {
        Some("the Rust client is not built: tests/run builds it")
    } else if !is_root() {
        Some("network namespaces need root")
    } else {
        None
    }
}

/// Tells whether this process may make namespaces.
fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output()?;
    if !output.status.success() {
        bail!(
            "ip {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// Lets no address change after the start: a browser gives up its requests when one does, and without this an address of IPv6
/// is checked for a second or two first.
fn keep_addresses(namespace: &str) -> Result<()> {
    let setting = "/proc/sys/net/ipv6/conf/default/accept_dad";
    let write = format!("if [ -e {setting} ]; then echo 0 >{setting}; fi");
    ip(&["netns", "exec", namespace, "sh", "-c", &write])
}

impl TestNetwork {
    /// Makes a switch without hosts; the first in a process clears away what killed tests have left. `None` where real clients
    /// can not run, after it was said why.
    ///
    /// # Errors
    ///
    /// What the operating system says; and in CI, where they have to run.
    pub fn new() -> Result<Option<Self>> {
        if let Some(reason) = why_clients_can_not_run() {
            report_skipped(reason)?;
            return Ok(None);
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep);
        let name = format!(
            "bl{}x{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let network = Self {
            name,
            hosts: AtomicU32::new(0),
        };
        let switch = network.switch();
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "br0", "type", "bridge"])?;
        ip(&["-n", &switch, "link", "set", "br0", "up"])?;
        Ok(Some(network))
    }

    fn switch(&self) -> String {
        format!("{}sw", self.name)
    }

    /// Adds a host. The first is the server's, at 10.77.0.1: the others' way out.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn host(&self) -> Result<Host> {
        let number = self.hosts.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("{}h{number}", self.name);
        let (switch, port) = (self.switch(), format!("p{number}"));
        let address = if number == 0 {
            "10.77.0.1".to_owned()
        } else {
            format!("10.77.0.{}", 10 + number)
        };
        ip(&["netns", "add", &namespace])?;
        keep_addresses(&namespace)?;
        ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        let peer = ["peer", "name", &port, "netns", &switch];
        ip(&[
            &["-n", &namespace, "link", "add", "eth0", "type", "veth"],
            &peer[..],
        ]
        .concat())?;
        ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"])?;
        ip(&[
            "-n",
            &namespace,
            "addr",
            "add",
            &format!("{address}/24"),
            "dev",
            "eth0",
        ])?;
        ip(&["-n", &namespace, "link", "set", "eth0", "up"])?;
        if number > 0 {
            ip(&[
                "-n",
                &namespace,
                "route",
                "add",
                "default",
                "via",
                "10.77.0.1",
            ])?;
        }
        Ok(Host {
            namespace,
            switch,
            port,
            address,
        })
    }
}

impl Drop for TestNetwork {
    fn drop(&mut self) {
        for number in 0..self.hosts.load(Ordering::Relaxed) {
            drop(ip(&["netns", "del", &format!("{}h{number}", self.name)]));
        }
        drop(ip(&["netns", "del", &self.switch()]));
    }
}

impl Host {
    /// Returns the host as a word, for a test that runs inside another host.
    pub(crate) fn to_text(&self) -> String {
        [&self.namespace, &self.switch, &self.port, &self.address]
            .map(String::as_str)
            .join(",")
    }

    /// Reads a host from its word.
    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.split(',').map(str::to_owned);
        let mut next = || parts.next();
        let (namespace, switch) = (next()?, next()?);
        Some(Self {
            namespace,
            switch,
            port: next()?,
            address: next()?,
        })
    }

    /// Returns the server's host, for a test that runs inside it already.
    #[must_use]
    pub fn here() -> Self {
        let nothing = String::new;
        let address = "10.77.0.1".to_owned();
        Self {
            namespace: nothing(),
            switch: nothing(),
            port: nothing(),
            address,
        }
    }

    /// Returns a command that runs on the host.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        if self.namespace.is_empty() {
            return Command::new(program);
        }
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace])
            .arg(program);
        command
    }

    /// Returns a command that has the host's network and sees this machine's control groups, as an engine of containers
    /// needs.
    pub(crate) fn command_in_network(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{}", self.namespace))
            .arg(program);
        command
    }

    /// Pulls the host's cable, or plugs it in again.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn set_cable(&self, is_plugged: bool) -> Result<()> {
        let state = if is_plugged { "up" } else { "down" };
        ip(&["-n", &self.switch, "link", "set", &self.port, state])
    }

    /// Moves the host to another address on the switch: what it had before is gone.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn move_to(&mut self, address: &str) -> Result<()> {
        let in_namespace = |arguments: &[&str]| ip(&[&["-n", &self.namespace], arguments].concat());
        let [before, after] = [&*self.address, address].map(|address| format!("{address}/24"));
        in_namespace(&["addr", "del", &before, "dev", "eth0"])?;
        in_namespace(&["addr", "add", &after, "dev", "eth0"])?;
        in_namespace(&["route", "add", "default", "via", "10.77.0.1"])?;
        address.clone_into(&mut self.address);
        Ok(())
    }

    /// Keeps the host's packets from every other isolated host, or lets them pass again: a host that is not isolated,
    /// such as the server's, is reached all the same.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn set_isolated(&self, is_isolated: bool) -> Result<()> {
        let state = if is_isolated { "on" } else { "off" };
        let link = ["link", "set", &self.port, "type", "bridge_slave"];
        ip(&[&["-n", &self.switch], &link[..], &["isolated", state]].concat())
    }

    /// Breaks the host's TCP connections to a port; returns how many there were.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub fn break_connections(&self, port: u16) -> Result<usize> {
        let mut command = self.command("ss");
        let output = command
            .args(["-HtnK", "dport", "=", &format!(":{port}")])
            .output()?;
        if !output.status.success() {
            bail!("ss: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).lines().count())
    }
}
