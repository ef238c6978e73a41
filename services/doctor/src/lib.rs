//! Checks a deployment from outside, as a client meets it: names, TCP, TLS, the client protocol, relays, STUN.
//!
//! ```text
//! URL ─▶ names ─▶ each address: TCP ─▶ certificate ─▶ /key, clock, upgrade     (control)
//!                                             └────▶ map of relays ─▶ each: certificate, upgrade, STUN     (relays)
//! ```
//!
//! What is found is said with what to mend. Nothing is changed, and nothing secret is sent: a check goes on over a
//! certificate that it does not trust, so that one run finds all that is wrong. Decisions (what an answer means) are pure; the
//! rest asks.

mod certificate;
mod clock;
mod control;
mod exchange;
mod finding;
mod names;
mod place;
mod relays;
mod secure;
mod stun;
mod upgrade;

pub use finding::{Finding, FindingLevel};
pub use place::InvalidServerUrl;

use std::sync::Arc;

use rustls::RootCertStore;

use exchange::Exchanger;
use place::ServerPlace;

/// How many addresses of a name are checked.
const MOST_ADDRESSES: usize = 8;

/// Checks the deployment at a URL, trusting these authorities, and returns what was found, in order.
///
/// # Errors
///
/// When the text is no URL of a server.
pub async fn examine(url: &str, trusted: RootCertStore) -> Result<Vec<Finding>, InvalidServerUrl> {
    let place = ServerPlace::parse(url)?;
    let exchanger = Exchanger::new(Arc::new(trusted));
    let mut findings = Vec::new();
    let addresses = names::resolve(&place.host, place.port, &mut findings).await;
    let mut relays = None;
    for address in addresses.into_iter().take(MOST_ADDRESSES) {
        let found = control::examine_address(&exchanger, &place, address, &mut findings).await;
        relays = relays.or(found);
    }
    if let Some(relays) = relays {
        findings.extend(relays::examine_relays(&exchanger, &relays).await);
    }
    Ok(findings)
}
