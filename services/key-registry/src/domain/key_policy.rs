//! The key policy: which credentials may make which nodes of a tailnet, from where, and how many.
//!
//! A pre-auth key has limits of its own, and the tailnet's rules hold for all its keys: of two limits the lower one counts.
//! The rules are asked when a key is made, and again each time that it is used, so that rules that were made stricter hold at
//! once for keys that are there.

use bowline_proto::{
    identity::v1::{LoginRules, PreAuthKeyRules, UserRules},
    key_registry::v1::PreAuthKey,
};
use bowline_service_kit::source_networks;
use chrono::{DateTime, TimeDelta, Utc};

use super::from_timestamp;
use crate::error::RegistryError;

/// The most networks of one list.
const MOST_NETWORKS: usize = 100;

/// Checks the limits that a new key has of its own, and writes its networks in one form.
pub fn normalize_limits(key: &mut PreAuthKey) -> Result<(), RegistryError> {
    if !key.reusable && key.max_uses > 1 {
        let problem = "a key that is not reusable works once: make it reusable, or leave this out";
        return Err(RegistryError::invalid("max_uses", problem));
    }
    if key.source_networks.len() > MOST_NETWORKS {
        let problem =
            format!("are more than {MOST_NETWORKS} networks: give a wider one in place of several");
        return Err(RegistryError::invalid("source_networks", problem));
    }
    for network in &mut key.source_networks {
        let read = source_networks::read_network(network);
        let read = read.map_err(|problem| RegistryError::invalid("source_networks", problem))?;
        *network = read.to_string();
    }
    Ok(())
}

/// Returns when a new key ends: when its maker says, otherwise after `usual`, and never later than the rules allow.
///
/// # Errors
///
/// When its maker wants it to live longer than that.
pub fn choose_end(
    rules: &PreAuthKeyRules,
    wanted: Option<DateTime<Utc>>,
    usual: TimeDelta,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, RegistryError> {
    let latest = max_lifetime(rules).and_then(|life| now.checked_add_signed(life));
    let end =
        wanted.unwrap_or_else(|| latest.map_or(now + usual, |latest| latest.min(now + usual)));
    match latest {
        Some(latest) if end > latest => {
            let life = describe_life(latest - now);
            let problem =
                format!("is later than the key policy allows: a key works for at most {life}");
            Err(RegistryError::invalid("expires_at", problem))
        }
        _ => Ok(end),
    }
}

/// Refuses a new key of a kind that the rules do not allow.
pub fn check_new_key(rules: &PreAuthKeyRules, key: &PreAuthKey) -> Result<(), RegistryError> {
    match missing_property(rules, key) {
        None => Ok(()),
        Some(wanted) => Err(RegistryError::Refused(format!(
            "the tailnet's key policy says that auth keys have to {wanted}: make this one so, or change the policy \
             (bowline key-policy)"
        ))),
    }
}

/// Says why the rules do not let a key be used any more, if they do not: its kind is not allowed, or it is too old.
pub fn find_key_refusal(
    rules: &PreAuthKeyRules,
    key: &PreAuthKey,
    now: DateTime<Utc>,
) -> Option<String> {
    let is_too_old = max_lifetime(rules).is_some_and(|life| {
        let made = key.created_at.and_then(from_timestamp);
        made.is_some_and(|made| made + life <= now)
    });
    if is_too_old {
        let text = "the auth key is older than the network's key policy allows: ask for another";
        return Some(text.to_owned());
    }
    missing_property(rules, key).map(|wanted| {
        format!("the network's key policy says that auth keys have to {wanted}: ask for another")
    })
}

/// Returns what keys have to do, and this one does not.
fn missing_property(rules: &PreAuthKeyRules, key: &PreAuthKey) -> Option<&'static str> {
    match () {
        () if rules.only_tagged && key.tags.is_empty() => Some("give tags"),
        () if rules.only_ephemeral && !key.ephemeral => Some("make ephemeral devices"),
        () if rules.only_one_off && key.reusable => Some("work only once"),
        () => None,
    }
}

/// Says why a key can not be used from an address, if it can not.
pub fn find_source_refusal(networks: [&[String]; 2], source: &str) -> Option<String> {
    let is_outside = |networks: &[String]| {
        !networks.is_empty() && !source_networks::networks_include(networks, source)
    };
    networks.into_iter().any(is_outside).then(|| {
        format!(
            "devices may not join from the address {source} with this auth key or login: join from a network that is \
             allowed, or ask an administrator"
        )
    })
}

/// Says why a key can not be used once more, if it was used as often as it and the rules allow.
pub fn find_uses_refusal(rules: &PreAuthKeyRules, key: &PreAuthKey) -> Option<String> {
    let most = lower_limit(rules.max_uses, key.max_uses)?;
    (key.uses >= u64::from(most)).then(|| {
        let often = if most == 1 {
            "once".to_owned()
        } else {
            format!("{most} times")
        };
        format!("the auth key was used {often}, as often as it may be: ask for another")
    })
}

/// Returns how often a key may be used in an hour, if there is a limit.
pub fn hourly_limit(rules: &PreAuthKeyRules, key: &PreAuthKey) -> Option<u32> {
    lower_limit(rules.max_uses_per_hour, key.max_uses_per_hour)
}

/// What a registration makes.
#[derive(Clone, Copy, Debug)]
pub struct RegistrationResult {
    /// Whether it is a node that was not there before.
    pub is_new: bool,
    /// Whether it gets tags that it did not have.
    pub gets_tags: bool,
}

/// Says why a login may not make this, if it may not.
pub fn find_login_refusal(rules: &LoginRules, made: RegistrationResult) -> Option<String> {
    let text = match () {
        () if made.gets_tags && rules.no_tags => {
            "the network's key policy lets no login give tags: use an auth key with these tags, or ask an administrator"
        }
        () if made.is_new && rules.no_new_nodes => {
            "the network's key policy lets no login add a device: ask an administrator for an auth key"
        }
        () => return None,
    };
    Some(text.to_owned())
}

/// Says why a user who has so many nodes may not have one more, if that is so.
pub fn find_user_refusal(rules: &UserRules, nodes_of_user: u64) -> Option<String> {
    let most = u64::from(rules.max_nodes);
    (most != 0 && nodes_of_user >= most).then(|| {
        format!(
            "this user has {nodes_of_user} devices, and the network's key policy lets a user have {most}: delete one that \
             nobody uses, or ask an administrator"
        )
    })
}

/// Returns the lower of two limits; zero is none.
fn lower_limit(one: u32, other: u32) -> Option<u32> {
    [one, other].into_iter().filter(|limit| *limit != 0).min()
}

fn max_lifetime(rules: &PreAuthKeyRules) -> Option<TimeDelta> {
    rules
        .max_lifetime
        .and_then(|life| TimeDelta::try_seconds(life.seconds))
}

fn describe_life(life: TimeDelta) -> String {
    match life.num_seconds() {
        seconds if seconds % 86_400 == 0 => format!("{} days", seconds / 86_400),
        seconds if seconds % 3_600 == 0 => format!("{} hours", seconds / 3_600),
        seconds => format!("{} minutes", seconds / 60),
    }
}

#[cfg(test)]
mod tests;
