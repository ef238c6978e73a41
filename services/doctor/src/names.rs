//! What a host name leads to.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::time::{Instant, timeout};

use crate::finding::{Finding, Judgement};

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks a host up, says what was found, and returns the addresses to try.
pub(crate) async fn resolve(host: &str, port: u16, findings: &mut Vec<Finding>) -> Vec<SocketAddr> {
    if let Ok(address) = host.parse::<IpAddr>() {
        // There is nothing to look up.
        return vec![SocketAddr::new(address, port)];
    }
    let begin = Instant::now();
    let answer = timeout(PATIENCE, tokio::net::lookup_host((host, port))).await;
    let took = begin.elapsed();
    let found: BTreeSet<SocketAddr> = match answer {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => {
            let judgement = Judgement::failed(format!(
                "the name leads nowhere ({error}): make an A record (IPv4) or an AAAA record (IPv6) for it, or mend the name in public_url"
            ));
            findings.push(judgement.of("dns", host, None));
            return Vec::new();
        }
        Err(_) => {
            let text = "nobody answers for the name: look at the nameservers of its domain, and at those of this machine";
            findings.push(Judgement::failed(text).of("dns", host, None));
            return Vec::new();
        }
    };
    let addresses: Vec<_> = found.into_iter().collect();
    findings.push(judge_addresses(&addresses).of("dns", host, Some(took)));
    addresses
}

fn judge_addresses(addresses: &[SocketAddr]) -> Judgement {
    let texts: Vec<_> = addresses.iter().map(|one| one.ip().to_string()).collect();
    let texts = texts.join(", ");
    if addresses.is_empty() {
        return Judgement::failed(
            "the name has neither an A record (IPv4) nor an AAAA record (IPv6): make one",
        );
    }
    if addresses.iter().any(|one| one.ip().is_loopback()) {
        return Judgement::warning(format!(
            "{texts}: other machines do not come here by an address of the loopback interface; look at /etc/hosts"
        ));
    }
    Judgement::ok(texts)
}

#[cfg(test)]
mod tests;
