//! What an authority's refusal means, in words that say what to mend.

use instant_acme::Problem;

use crate::challenge::ChallengeKind;

/// Returns the last part of a problem's type: `connection` of `urn:ietf:params:acme:error:connection`.
pub(crate) fn problem_name(problem: &Problem) -> &str {
    let whole = problem.r#type.as_deref().unwrap_or_default();
    whole.rsplit(':').next().unwrap_or_default()
}

/// Says why a host could not be proven.
pub(crate) fn describe_failed_proof(kind: ChallengeKind, host: &str, problem: &Problem) -> String {
    let name = problem_name(problem);
    let detail = problem.detail.as_deref().unwrap_or(name);
    let detail = detail.trim().trim_end_matches('.');
    let advice = advise_on_proof(kind, host, name);
    format!("the authority can not prove {host} by {kind}: {detail}. {advice}")
}

fn advise_on_proof(kind: ChallengeKind, host: &str, name: &str) -> String {
    match (name, kind) {
        ("dns", _) => format!(
            "Give {host} an A or AAAA record with the address at which the internet reaches this server"
        ),
        ("caa", _) => format!(
            "A CAA record of {host}, or of a domain above it, names other authorities: add this one, or remove the record"
        ),
        // Some authorities do not tell a port that nobody answers at from a wrong answer.
        ("connection" | "tls" | "unauthorized" | "incorrectResponse", ChallengeKind::TlsAlpn) => {
            format!(
                "It asks at port 443 of each address that {host} has in the public DNS, whatever port public_url names: let that port, and no other server's, lead to this listener, let the firewall pass it, and let nothing in between speak TLS. Every process there uses this acme.state_dir. Where port 443 can not be led here, set acme.http_listen"
            )
        }
        ("connection" | "tls" | "unauthorized" | "incorrectResponse", ChallengeKind::Http) => {
            format!(
                "It asks http://{host}/.well-known/acme-challenge/ at port 80 of each address that {host} has in the public DNS: let that port, and no other server's, lead to acme.http_listen, and let the firewall pass it. Every process there uses this acme.state_dir"
            )
        }
        _ => advise_on_refusal(name),
    }
}

/// Says why the authority refuses.
pub(crate) fn describe_refusal(problem: &Problem) -> String {
    let name = problem_name(problem);
    let mut text = problem.detail.as_deref().unwrap_or(name).trim().to_owned();
    for part in &problem.subproblems {
        let detail = part.detail.as_deref().unwrap_or_default();
        text = format!("{}; {}", text.trim_end_matches('.'), detail.trim());
    }
    let text = text.trim_end_matches('.');
    let advice = advise_on_refusal(name);
    let advice = advice.trim();
    format!("the authority refuses: {text}. {advice}")
        .trim_end()
        .to_owned()
}

fn advise_on_refusal(name: &str) -> String {
    match name {
        "rateLimited" => {
            "It was asked too often; there is nothing to do but wait, and it is asked again by itself"
        }
        "rejectedIdentifier" | "unsupportedIdentifier" => {
            "It does not issue for this name: name others in acme.hosts, or another authority in acme.directory_url"
        }
        "externalAccountRequired" => {
            "It issues only for accounts that were made with it before, which Bowline does not know how to use: name another in acme.directory_url"
        }
        "userActionRequired" => {
            "Its terms have changed: agree to them as it says, for the account in acme.state_dir"
        }
        "invalidContact" | "unsupportedContact" => "Name another address in acme.contact",
        "accountDoesNotExist" => {
            "It does not know the account that is kept here any more: another is made at the next attempt"
        }
        _ => "",
    }
    .to_owned()
}

#[cfg(test)]
mod tests;
