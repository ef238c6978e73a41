//! Names of nodes: DNS labels, unique in a tailnet.

use crate::error::RegistryError;

/// The longest label, leaving room for a suffix that makes it unique.
const LONGEST: usize = 56;

/// Returns the label of a hostname: lower-case letters, digits and hyphens; never empty.
pub fn label(hostname: &str) -> String {
    let first = hostname.split('.').next().unwrap_or_default();
    let mut label = String::new();
    for character in first.chars() {
        match character.to_ascii_lowercase() {
            allowed if allowed.is_ascii_lowercase() || allowed.is_ascii_digit() => {
                label.push(allowed)
            }
            _ if label.ends_with('-') || label.is_empty() => {}
            _ => label.push('-'),
        }
        if label.len() >= LONGEST {
            break;
        }
    }
    match label.trim_end_matches('-') {
        "" => "node".to_owned(),
        label => label.to_owned(),
    }
}

/// Returns the form of a label that makes it unique: the label itself first, then `label-1`, `label-2`, ….
pub fn numbered(label: &str, number: u64) -> String {
    if number == 0 {
        label.to_owned()
    } else {
        format!("{label}-{number}")
    }
}

/// Says whether a name is a label or was made from it.
pub fn is_from(name: &str, label: &str) -> bool {
    let number = name
        .strip_prefix(label)
        .and_then(|rest| rest.strip_prefix('-'));
    name == label || number.is_some_and(|number| number.parse::<u64>().is_ok())
}

/// Checks a name an administrator chose.
pub fn check(name: &str) -> Result<(), RegistryError> {
    if name.len() > 63 || label(name) != name && !is_label(name) {
        let problem = format!("\"{name}\" is not 1 to 63 lower-case letters, digits and hyphens");
        return Err(RegistryError::invalid("name", problem));
    }
    Ok(())
}

fn is_label(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !name.is_empty() && name.bytes().all(allowed) && !name.starts_with('-') && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_hostname_gives_a_label() {
        for (hostname, expected) in [
            ("Amira's MacBook", "amira-s-macbook"),
            ("web.example.com", "web"),
            ("--", "node"),
            ("", "node"),
            ("\u{202e}evil\0", "evil"),
            ("ünï", "n"),
        ] {
            assert_eq!(label(hostname), expected, "{hostname:?}");
        }
        assert!(label(&"a".repeat(300)).len() <= LONGEST);
        assert_eq!(
            (numbered("web", 0), numbered("web", 2)),
            ("web".into(), "web-2".into())
        );
    }

    #[test]
    fn name_made_from_a_label_is_known_as_such() {
        assert!(is_from("web", "web") && is_from("web-12", "web"));
        assert!(!is_from("web-a", "web") && !is_from("webs", "web") && !is_from("we", "web"));
    }

    #[test]
    fn chosen_names_are_labels() {
        assert!(check("web-1").is_ok());
        for name in ["", "Web", "a.b", "-a", "a-", &"a".repeat(64)] {
            assert!(check(name).is_err(), "{name}");
        }
    }
}
