//! The settings files that operators are given, for the places of a test.

use anyhow::{Result, bail};

/// Returns the sample settings of a service.
pub(crate) fn read_sample(service: &str) -> Result<&'static str> {
    Ok(match service {
        "identity" => include_str!("../../../deploy/identity.toml"),
        "key-registry" => include_str!("../../../deploy/key-registry.toml"),
        "policy-compiler" => include_str!("../../../deploy/policy-compiler.toml"),
        "netmap-gateway" => include_str!("../../../deploy/netmap-gateway.toml"),
        _ => bail!("{service} has no sample"),
    })
}

/// Returns a sample with other values for some of its settings, `None` to leave one out; each is there once.
pub(crate) fn change_sample(sample: &str, changes: &[(&str, Option<String>)]) -> Result<String> {
    let mut lines = Vec::new();
    let mut changed = 0;
    let mut table = String::new();
    for line in sample.lines() {
        if let Some(rest) = line.strip_prefix('[') {
            table = rest.split(']').next().unwrap_or_default().to_owned() + ".";
        }
        // A sample shows some settings as comments.
        let setting = line.strip_prefix("# ").unwrap_or(line);
        let key = setting.split_once(" = ").map(|(key, _)| key);
        let change = key.and_then(|key| {
            let wanted = format!("{}{key}", table.trim_start_matches('.'));
            changes.iter().find(|(name, _)| *name == wanted)
        });
        match (key, change) {
            (Some(key), Some((_, value))) => {
                changed += 1;
                lines.extend(value.iter().map(|value| format!("{key} = {value}")));
            }
            _ => lines.push(line.to_owned()),
        }
    }
    if changed != changes.len() {
        bail!("the sample lacks one of the settings {changes:?}");
    }
    Ok(lines.join("\n"))
}
