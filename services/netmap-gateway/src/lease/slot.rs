//! The slot of a gateway: the name of an address that only one process at a time can listen on.

use std::net::SocketAddr;

/// Names the address that this process listens on, so that no two processes alive can have the same name: within one
/// start of one kernel and one network namespace an address is listened on once. Empty when that can not be found out.
pub fn lease_slot(address: SocketAddr) -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let network = std::fs::read_link("/proc/self/ns/net");
    match (boot, network) {
        (Ok(boot), Ok(network)) => {
            format!("{}/{}/{address}", boot.trim(), network.display())
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
