//! Which hosts these challenges can prove.

use std::net::IpAddr;

/// Why a certificate for a host can not be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnfitHost {
    /// It is an address.
    Address,
    /// It stands for many names.
    Wildcard,
    /// It is no host name.
    NoName,
}

/// Returns a host in the form in which certificates have it.
pub(crate) fn normalize_host(host: &str) -> Result<String, UnfitHost> {
    let bare = host.trim_matches(['[', ']']);
    if bare.parse::<IpAddr>().is_ok() {
        return Err(UnfitHost::Address);
    }
    let name = bare.trim_end_matches('.').to_ascii_lowercase();
    // A tailnet's own name in a URL stands in braces.
    if name.contains(['*', '{']) {
        return Err(UnfitHost::Wildcard);
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if name.len() <= 253 && name.split('.').all(is_label) {
        Ok(name)
    } else {
        Err(UnfitHost::NoName)
    }
}

#[cfg(test)]
mod tests;
