//! The DNS settings of a tailnet: MagicDNS, nameservers, nameservers for one suffix (split DNS), search domains, and records.
//!
//! Only what clients can do is accepted. As a nameserver they take an IP address, or the https URL of a public DNS service
//! that they know. A record answers exactly one name: they know no patterns such as `*.example.com`, and of several addresses
//! of one name and type they give only one.

use std::net::{IpAddr, Ipv6Addr};

use bowline_proto::identity::v1::{
    DnsChange, DnsRecord, DnsSettings, SplitDns, Tailnet, dns_change::Change,
};
use prost::Message as _;
use serde_json::{Value, json};

use crate::error::IdentityError;

/// The most nameservers, counted together with those for suffixes. Also the most search domains, and the most suffixes.
const MOST_SERVERS: usize = 100;
/// The most records. Each client is sent all of them.
const MOST_RECORDS: usize = 1000;
/// The most bytes that all settings have when they are encoded.
const MOST_BYTES: usize = 64 << 10;
/// The most changes in one request.
const MOST_CHANGES: usize = 1000;
/// The longest name that DNS allows, without a trailing dot.
const LONGEST_NAME: usize = 253;
/// The longest MagicDNS suffix: it leaves room for a node's name of 63 letters and a dot before it.
const LONGEST_SUFFIX: usize = LONGEST_NAME - 64;
/// The addresses at which each client itself answers DNS queries. As a nameserver, one of them would make the client ask
/// itself.
const CLIENT_RESOLVERS: [&str; 2] = ["100.100.100.100", "fd7a:115c:a1e0::53"];

/// Applies changes one after the other.
///
/// # Errors
///
/// When one of them is wrong, or the settings that all of them give. The tailnet may be changed in part then: drop it.
pub fn apply_changes(tailnet: &mut Tailnet, changes: Vec<DnsChange>) -> Result<(), IdentityError> {
    if changes.len() > MOST_CHANGES {
        let problem = format!("are more than {MOST_CHANGES}: send them in several requests");
        return Err(IdentityError::invalid("changes", problem));
    }
    let mut dns = tailnet.dns_settings().into_owned();
    for change in changes {
        let change = change
            .change
            .ok_or_else(|| IdentityError::invalid("changes", "one of them says nothing"))?;
        match change {
            Change::MagicDns(is_on) => dns.magic_dns = is_on,
            Change::MagicDnsSuffix(suffix) => {
                tailnet.magic_dns_suffix = normalize_suffix(&suffix)?;
            }
            Change::Nameservers(names) => dns.nameservers = names.values,
            Change::OverrideLocal(is_on) => dns.override_local = is_on,
            Change::SearchDomains(names) => dns.search_domains = names.values,
            Change::PutSplit(split) => {
                let suffix = fold_name(&split.suffix);
                dns.split.retain(|other| fold_name(&other.suffix) != suffix);
                dns.split.push(split);
            }
            Change::RemoveSplit(suffix) => {
                let (before, suffix) = (dns.split.len(), fold_name(&suffix));
                dns.split.retain(|other| fold_name(&other.suffix) != suffix);
                if dns.split.len() == before {
                    return Err(IdentityError::NotFound("suffix with nameservers"));
                }
            }
            Change::PutRecord(record) => put_record(&mut dns, &record)?,
            Change::RemoveRecord(gone) => {
                let (before, name) = (dns.records.len(), fold_name(&gone.name));
                dns.records.retain(|record| {
                    record.name != name || !(gone.r#type.is_empty() || record.r#type == gone.r#type)
                });
                if dns.records.len() == before {
                    return Err(IdentityError::NotFound("DNS record"));
                }
            }
        }
    }
    tailnet.dns = Some(normalize_settings(dns)?);
    Ok(())
}

/// Adds a record, unless it is there. A second address for the same name and type is refused, because clients would answer
/// with only one of the two.
fn put_record(dns: &mut DnsSettings, record: &DnsRecord) -> Result<(), IdentityError> {
    let record = normalize_record(record)?;
    let same = |other: &&DnsRecord| (&other.name, &other.r#type) == (&record.name, &record.r#type);
    match dns.records.iter().find(same) {
        Some(other) if other.value == record.value => {}
        Some(other) => {
            let problem = format!(
                "{} has the {} record {} already, and clients answer with one address of a type: remove it first",
                other.name, other.r#type, other.value
            );
            return Err(IdentityError::invalid("records", problem));
        }
        None => dns.records.push(record),
    }
    Ok(())
}

/// Checks settings, and returns them in the form they are stored in: names in lower case without a trailing dot, nothing
/// twice, suffixes and records sorted. So two settings that mean the same are equal, and the audit trail shows no change.
pub fn normalize_settings(mut dns: DnsSettings) -> Result<DnsSettings, IdentityError> {
    check_size(&dns)?;
    dns.nameservers = normalize_servers("nameservers", &dns.nameservers)?;
    dns.search_domains = dns
        .search_domains
        .iter()
        .map(|domain| normalize_name("search_domains", domain))
        .collect::<Result<_, _>>()?;
    keep_first_of_each(&mut dns.search_domains);
    dns.split = dns
        .split
        .iter()
        .map(normalize_split)
        .collect::<Result<_, _>>()?;
    dns.split
        .sort_by(|one, other| one.suffix.cmp(&other.suffix));
    if let Some(twice) = first_repeated(dns.split.iter().map(|split| &split.suffix)) {
        let problem = format!("the suffix \"{twice}\" stands there twice");
        return Err(IdentityError::invalid("split", problem));
    }
    let records = std::mem::take(&mut dns.records);
    for record in records {
        put_record(&mut dns, &record)?;
    }
    dns.records
        .sort_by(|one, other| (&one.name, &one.r#type).cmp(&(&other.name, &other.r#type)));
    if dns.override_local && dns.nameservers.is_empty() {
        let problem = "there is no nameserver to use instead of those of the operating system: set nameservers first, or do not override";
        return Err(IdentityError::invalid("override_local", problem));
    }
    check_size(&dns)?;
    Ok(dns)
}

fn check_size(dns: &DnsSettings) -> Result<(), IdentityError> {
    let of_suffixes: usize = dns.split.iter().map(|split| split.nameservers.len()).sum();
    let counted = [
        (
            "nameservers",
            dns.nameservers.len() + of_suffixes,
            MOST_SERVERS,
        ),
        ("search_domains", dns.search_domains.len(), MOST_SERVERS),
        ("split", dns.split.len(), MOST_SERVERS),
        ("records", dns.records.len(), MOST_RECORDS),
    ];
    for (field, count, most) in counted {
        if count > most {
            let problem = format!("are {count}, and at most {most} are allowed");
            return Err(IdentityError::invalid(field, problem));
        }
    }
    if dns.encoded_len() > MOST_BYTES {
        let problem = format!("is larger than {MOST_BYTES} bytes: each client is told all of it");
        return Err(IdentityError::invalid("dns", problem));
    }
    Ok(())
}

fn normalize_split(split: &SplitDns) -> Result<SplitDns, IdentityError> {
    let suffix = normalize_name("split", &split.suffix)?;
    if split.nameservers.is_empty() {
        let problem = format!("the suffix \"{suffix}\" has no nameservers: name one, or remove it");
        return Err(IdentityError::invalid("split", problem));
    }
    let nameservers = normalize_servers("split", &split.nameservers)?;
    Ok(SplitDns {
        suffix,
        nameservers,
    })
}

fn normalize_record(record: &DnsRecord) -> Result<DnsRecord, IdentityError> {
    let invalid = |problem: String| Err(IdentityError::invalid("records", problem));
    let given = &record.name;
    if given.contains('*') {
        return invalid(format!(
            "\"{given}\" is a pattern, and clients answer names only as they are written. For all names below a device's own name the policy gives the device the node attribute dns-subdomain-resolve (clients from 1.96 on); for a domain with many names set a nameserver for it (split DNS)"
        ));
    }
    let name = normalize_name("records", given)?;
    if !name.contains('.') {
        return invalid(format!(
            "\"{name}\" is one label only: give the whole name, such as {name}.example.com"
        ));
    }
    let kind = record.r#type.to_ascii_uppercase();
    let Ok(value) = record.value.parse::<IpAddr>() else {
        return invalid(format!("the value \"{}\" is no IP address", record.value));
    };
    match (&*kind, value) {
        ("A", IpAddr::V4(_)) | ("AAAA", IpAddr::V6(_)) => {}
        ("A", _) => {
            return invalid(format!(
                "{name}: an A record needs an IPv4 address, not {value}"
            ));
        }
        ("AAAA", _) => {
            return invalid(format!(
                "{name}: an AAAA record needs an IPv6 address, not {value}"
            ));
        }
        _ => {
            return invalid(format!(
                "\"{}\" is no type that clients answer: only A and AAAA are",
                record.r#type
            ));
        }
    }
    Ok(DnsRecord {
        name,
        r#type: kind,
        value: value.to_string(),
    })
}

/// Checks the suffix of the names of a tailnet's nodes, and returns it in the form it is stored in.
fn normalize_suffix(given: &str) -> Result<String, IdentityError> {
    let suffix = normalize_name("magic_dns_suffix", given)?;
    if suffix.len() > LONGEST_SUFFIX {
        let problem =
            format!("is longer than {LONGEST_SUFFIX} bytes: no room for the names of nodes");
        return Err(IdentityError::invalid("magic_dns_suffix", problem));
    }
    if suffix.contains('_') {
        let problem = format!("\"{suffix}\" holds an underscore, which no host name may");
        return Err(IdentityError::invalid("magic_dns_suffix", problem));
    }
    Ok(suffix)
}

fn normalize_servers(field: &'static str, given: &[String]) -> Result<Vec<String>, IdentityError> {
    let mut servers: Vec<_> = given
        .iter()
        .map(|server| normalize_server(field, server))
        .collect::<Result<_, _>>()?;
    keep_first_of_each(&mut servers);
    Ok(servers)
}

fn normalize_server(field: &'static str, given: &str) -> Result<String, IdentityError> {
    let invalid = |problem: String| Err(IdentityError::invalid(field, problem));
    if given.len() > LONGEST_NAME {
        return invalid(format!("a nameserver is longer than {LONGEST_NAME} bytes"));
    }
    let Ok(address) = given.parse::<IpAddr>() else {
        return if is_https_url(given) {
            Ok(given.to_owned())
        } else {
            invalid(format!(
                "\"{given}\" is neither an IP address nor an https URL of a public DNS service"
            ))
        };
    };
    if CLIENT_RESOLVERS
        .iter()
        .any(|own| own.parse() == Ok(address))
    {
        return invalid(format!(
            "{address} is where clients answer themselves: name the server they are to ask"
        ));
    }
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    let is_mapped = matches!(address, IpAddr::V6(address) if is_ipv4_mapped(&address));
    if address.is_unspecified() || address.is_multicast() || is_broadcast || is_mapped {
        return invalid(format!("{address} is no address of a server"));
    }
    Ok(address.to_string())
}

fn is_ipv4_mapped(address: &Ipv6Addr) -> bool {
    address.to_ipv4_mapped().is_some()
}

/// Says whether a text is an https URL that has a host, has no user or query, and consists of visible ASCII characters.
fn is_https_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://") else {
        return false;
    };
    let host = rest.split_once('/').map_or(rest, |(host, _)| host);
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\<>{}|^`@?#".contains(&byte);
    !host.is_empty() && !host.starts_with(['.', ':']) && rest.bytes().all(is_plain)
}

/// Checks a DNS name, and returns it in the form it is stored in: in lower case, without a trailing dot.
fn normalize_name(field: &'static str, given: &str) -> Result<String, IdentityError> {
    let name = fold_name(given);
    let is_part =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(is_part)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > LONGEST_NAME || !name.split('.').all(is_label) {
        let shown: String = given.chars().take(64).collect();
        let problem = format!(
            "\"{}\" is no DNS name such as corp.example.com: labels of 1 to 63 letters, digits and hyphens, with dots between them, {LONGEST_NAME} bytes in all",
            shown.escape_debug()
        );
        return Err(IdentityError::invalid(field, problem));
    }
    Ok(name)
}

fn fold_name(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn keep_first_of_each(texts: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    texts.retain(|text| seen.insert(text.clone()));
}

/// Returns the first value that a sorted list has twice.
fn first_repeated<T: PartialEq>(sorted: impl Iterator<Item = T>) -> Option<T> {
    let mut before = None;
    for now in sorted {
        if before.as_ref() == Some(&now) {
            return before;
        }
        before = Some(now);
    }
    None
}

/// Returns settings as the audit trail shows them.
pub fn describe_settings(tailnet: &Tailnet) -> Value {
    let dns = tailnet.dns_settings().into_owned();
    let split = dns
        .split
        .into_iter()
        .map(|split| (split.suffix, json!(split.nameservers)));
    let records = dns.records.into_iter().map(|record| {
        (
            format!("{} {}", record.name, record.r#type),
            json!(record.value),
        )
    });
    json!({
        "magic_dns": dns.magic_dns,
        "magic_dns_suffix": tailnet.magic_dns_suffix,
        "nameservers": dns.nameservers,
        "override_local": dns.override_local,
        "search_domains": dns.search_domains,
        "split": split.collect::<serde_json::Map<_, _>>(),
        "records": records.collect::<serde_json::Map<_, _>>(),
    })
}

#[cfg(test)]
mod tests;
