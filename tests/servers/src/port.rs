//! Free ports.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::Result;

/// Returns a port of the loopback address that nobody listens on at the moment.
pub(crate) fn free() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}
