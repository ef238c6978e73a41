//! Names of nodes: DNS labels, unique in a tailnet.

use crate::error::RegistryError;

/// The longest label of a name in DNS.
const LONGEST: usize = 63;
/// What systems append to the name of a host in a local network.
const LOCAL: [&str; 3] = [".local", ".localdomain", ".lan"];

/// Returns the label of a hostname, as clients expect it of every server; never empty.
///
/// A suffix of local networks is cut off, then what is beyond 63 bytes, then what is neither letter nor digit at both
/// ends. Within, space, dot, at sign and underscore become hyphens, and what is no letter, digit or hyphen is left out:
/// "Joe's Mac mini.local" is joes-mac-mini.
pub fn label(hostname: &str) -> String {
    let mut host = hostname.as_bytes();
    for suffix in LOCAL {
        host = host.strip_suffix(suffix.as_bytes()).unwrap_or(host);
    }
    let host = &host[..host.len().min(LONGEST)];
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
    match label.is_empty() {
        true => "node".to_owned(),
        false => label,
    }
}

/// Returns the form of a label that makes it unique: the label itself first, then `label-1`, `label-2`, …, each no longer
/// than a label may be.
pub fn numbered(label: &str, number: u64) -> String {
    if number == 0 {
        return label.to_owned();
    }
    let suffix = format!("-{number}");
    let kept = label.len().min(LONGEST - suffix.len());
    format!("{}{suffix}", &label[..kept])
}

/// Says whether a name is a label or was made from it.
pub fn is_from(name: &str, label: &str) -> bool {
    let number = name
        .rsplit_once('-')
        .and_then(|(_, number)| number.parse().ok());
    name == label || number.is_some_and(|number| numbered(label, number) == name)
}

/// Checks a name an administrator chose.
pub fn check(name: &str) -> Result<(), RegistryError> {
    if !is_label(name) {
        let problem = format!("\"{name}\" is not 1 to 63 lower-case letters, digits and hyphens");
        return Err(RegistryError::invalid("name", problem));
    }
    Ok(())
}

fn is_label(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=LONGEST).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_hostname_gives_the_label_that_clients_expect() {
        for (hostname, expected) in [
            ("Joe's Mac mini", "joes-mac-mini"),
            ("server-\u{5317}\u{4eac}-01", "server--01"),
            ("server--01", "server--01"),
            ("mail.server", "mail-server"),
            ("\u{6211}\u{7684}\u{7535}\u{8111}", "node"),
            ("My-PC!", "my-pc"),
            ("test_node", "test-node"),
            ("a@b", "a-b"),
            ("web.local", "web"),
            ("web.localdomain", "web"),
            ("web.lan", "web"),
            ("web.lan.local", "web"),
            ("web.local.lan", "web-local"),
            ("web.LOCAL", "web-local"),
            ("web.example.com", "web-example-com"),
            ("...web.", "web"),
            (".local", "node"),
            ("--", "node"),
            ("", "node"),
            ("\u{202e}evil\0", "evil"),
            ("\u{fc}n\u{ef}", "n"),
        ] {
            assert_eq!(label(hostname), expected, "{hostname:?}");
        }
        assert_eq!(label(&"a".repeat(300)), "a".repeat(63));
        // What lies beyond 63 bytes is cut off before the ends are looked at.
        assert_eq!(label(&format!("{}.b", "a".repeat(62))), "a".repeat(62));
    }

    #[test]
    fn numbered_names_are_labels_and_known_as_made_from_one() {
        assert_eq!(
            (numbered("web", 0), numbered("web", 2)),
            ("web".into(), "web-2".into())
        );
        assert!(is_from("web", "web") && is_from("web-12", "web"));
        assert!(!is_from("web-a", "web") && !is_from("webs", "web") && !is_from("we", "web"));
        let longest = "a".repeat(63);
        assert_eq!(numbered(&longest, 12), format!("{}-12", "a".repeat(60)));
        assert!(is_from(&numbered(&longest, 12), &longest));
    }

    #[test]
    fn chosen_names_are_labels() {
        assert!(check("web-1").is_ok() && check(&"a".repeat(63)).is_ok());
        for name in ["", "Web", "a.b", "-a", "a-", &"a".repeat(64)] {
            assert!(check(name).is_err(), "{name}");
        }
    }
}
