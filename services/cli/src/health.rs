//! `bowline health`: what a container or a supervisor asks; it needs neither a shell nor another program.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs as _},
    time::Duration,
};

use clap::Args;
use serde_json::json;

use crate::{
    failure::{Failure, FailureKind},
    output::Printer,
};

/// How long an answer may take: a process asks its database for up to three seconds.
const PATIENCE: Duration = Duration::from_secs(4);
/// The longest answer that is read.
const LONGEST_ANSWER: u64 = 4096;

/// What to ask.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Where the process serves /healthz and /readyz: its `[telemetry] listen`, or `host:port` of another machine.
    #[arg(
        long,
        env = "BOWLINE_TELEMETRY__LISTEN",
        default_value = "127.0.0.1:9090"
    )]
    at: String,
    /// Ask only whether it runs, not whether it serves: this never depends on a database.
    #[arg(long)]
    live: bool,
}

/// Asks the process, and fails unless it is well.
pub fn run(args: &HealthArgs, printer: &Printer) -> Result<(), Failure> {
    let path = if args.live { "/healthz" } else { "/readyz" };
    let answer = ask(&args.at, path).map_err(|error| {
        let text = format!("no answer from {}{path}: {error}", args.at);
        Failure::new(FailureKind::Failed, text)
    })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let said = body.trim();
    if head.split(' ').nth(1) != Some("200") {
        return Err(Failure::new(FailureKind::Failed, said));
    }
    printer.print_result(&json!({ "health": said }), said);
    Ok(())
}

/// Returns where a process that listens on all addresses is reached from its own machine.
fn reachable_address(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// Connects to an address, or to the first of a name's that takes the connection.
fn connect(at: &str) -> std::io::Result<TcpStream> {
    let mut refusal = std::io::Error::other("the name has no address");
    for address in at.to_socket_addrs()? {
        match TcpStream::connect_timeout(&reachable_address(address), PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

/// Asks over plain HTTP, which the process speaks on a loopback address or a private network.
fn ask(at: &str, path: &str) -> std::io::Result<String> {
    let mut stream = connect(at)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.take(LONGEST_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests;
