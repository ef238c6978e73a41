//! Names of nodes: DNS labels, unique in a tailnet.

use crate::error::RegistryError;

/// The longest label of a name in DNS.
const LONGEST_LABEL: usize = 63;
/// What systems append to the name of a host in a local network.
const LOCAL_SUFFIXES: [&str; 3] = [".local", ".localdomain", ".lan"];

/// Returns the label of a hostname, as clients expect it of every server; never empty.
///
/// A suffix of local networks is cut off, then what is beyond 63 bytes, then what is neither letter nor digit at both
/// ends. Within, space, dot, at sign and underscore become hyphens, and what is no letter, digit or hyphen is left out:
/// "Joe's Mac mini.local" is joes-mac-mini.
pub fn derive_label(hostname: &str) -> String {
    let mut host = hostname.as_bytes();
    for suffix in LOCAL_SUFFIXES {
        host = host.strip_suffix(suffix.as_bytes()).unwrap_or(host);
    }
    let host = &host[..host.len().min(LONGEST_LABEL)];
    let is_end = |byte: &u8| byte.is_ascii_alphanumeric();
    let start = host.iter().position(is_end).unwrap_or(host.len());
    let end = host.iter().rposition(is_end).map_or(start, |last| last + 1);
    let label: String = host[start..end]
        .iter()
        .filter_map(|byte| match byte {
            b' ' | b'.' | b'@' | b'_' | b'-' => Some('-'),
            letter if letter.is_ascii_alphanumeric() => Some(letter.to_ascii_lowercase().into()),
            _ => None,
        })
        .collect();
    if label.is_empty() {
        return "node".to_owned();
    }
    label
}

/// Returns the form of a label that makes it unique: the label itself first, then `label-1`, `label-2`, …, each no longer
/// than a label may be.
pub fn number_label(label: &str, number: u64) -> String {
    if number == 0 {
        return label.to_owned();
    }
    let suffix = format!("-{number}");
    let kept = label.len().min(LONGEST_LABEL - suffix.len());
    format!("{}{suffix}", &label[..kept])
}

/// Says whether a name is a label or was made from it.
pub fn is_derived_from(name: &str, label: &str) -> bool {
    derived_number(name, label).is_some()
}

/// Returns the number with which a name was made from a label, 0 where it is the label; `None` where it was not.
pub fn derived_number(name: &str, label: &str) -> Option<u64> {
    if name == label {
        return Some(0);
    }
    let (_, number) = name.rsplit_once('-')?;
    let number = number.parse().ok()?;
    (number_label(label, number) == name).then_some(number)
}

/// Checks a name an administrator chose.
pub fn check_label(name: &str) -> Result<(), RegistryError> {
    if !is_label(name) {
        let problem = format!("\"{name}\" is not 1 to 63 lower-case letters, digits and hyphens");
        return Err(RegistryError::invalid("name", problem));
    }
    Ok(())
}

fn is_label(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=LONGEST_LABEL).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests;
