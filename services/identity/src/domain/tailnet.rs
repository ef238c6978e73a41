//! What the settings of a tailnet may be, and what they are when nobody sets them.

use bowline_proto::{
    identity::v1::{DnsSettings, KeyPolicy, Tailnet},
    time::to_timestamp,
};
use chrono::{DateTime, Utc};
use ipnet::{Ipv4Net, Ipv6Net};
use prost_types::Duration;
use serde_json::{Value, json};

use super::{check_label, check_text, dns, key_policy};
use crate::error::IdentityError;

/// The IPv4 addresses that clients take as addresses of nodes (protocol section 8.1).
const IPV4: &str = "100.64.0.0/10";
/// The IPv6 addresses that they take as such.
const IPV6: &str = "fd7a:115c:a1e0::/48";
/// How long node keys of users are good in a new tailnet, in seconds.
const KEY_LIFETIME: i64 = 180 * 24 * 3600;
/// The longest that a tailnet can let them be good: 100 years, in seconds.
const LONGEST_KEY_LIFETIME: i64 = 100 * 365 * 24 * 3600;

/// Returns a new tailnet with the settings that were chosen, and defaults for the others.
pub fn new(
    id: u64,
    name: String,
    chosen: Option<Tailnet>,
    now: DateTime<Utc>,
) -> Result<Tailnet, IdentityError> {
    check_label("name", &name)?;
    let mut tailnet = chosen.unwrap_or_else(|| Tailnet {
        key_lifetime: Some(Duration {
            seconds: KEY_LIFETIME,
            nanos: 0,
        }),
        ..Tailnet::default()
    });
    tailnet.id = id;
    tailnet.created_at = Some(to_timestamp(now));
    let default = |field: &mut String, value: String| {
        if field.is_empty() {
            *field = value;
        }
    };
    default(
        &mut tailnet.magic_dns_suffix,
        format!("{name}.bowline.internal"),
    );
    default(&mut tailnet.ipv4_pool, IPV4.to_owned());
    default(&mut tailnet.ipv6_pool, ipv6_pool(id));
    tailnet.dns = Some(match tailnet.dns.take() {
        Some(chosen) => dns::normalize_settings(chosen)?,
        None => DnsSettings {
            magic_dns: true,
            ..DnsSettings::default()
        },
    });
    tailnet.key_policy = tailnet
        .key_policy
        .map(key_policy::normalize_policy)
        .transpose()?;
    tailnet.name = name;
    check_tailnet(&tailnet)?;
    Ok(tailnet)
}

/// Returns the /64 from which a tailnet's nodes get their IPv6 addresses. The lowest 16 bits of its id choose it, so that the
/// first 65,535 tailnets have different ones. Tailnet 1 has the first, `fd7a:115c:a1e0::/64`.
fn ipv6_pool(id: u64) -> String {
    let block = u16::try_from(id % 0x1_0000).unwrap_or(0).saturating_sub(1);
    format!("fd7a:115c:a1e0:{block:x}::/64")
}

/// Sets the fields of `tailnet` that the mask names to those of `wanted`, and checks the result.
pub fn update_fields(
    tailnet: &mut Tailnet,
    wanted: &Tailnet,
    mask: &[String],
) -> Result<(), IdentityError> {
    for path in mask {
        match path.as_str() {
            "display_name" => tailnet.display_name.clone_from(&wanted.display_name),
            "key_lifetime" => tailnet.key_lifetime = wanted.key_lifetime,
            "machine_approval" => tailnet.machine_approval = wanted.machine_approval,
            "require_key_proof" => tailnet.require_key_proof = wanted.require_key_proof,
            "auto_update" => tailnet.auto_update = wanted.auto_update,
            "dns" => {
                let settings = wanted.dns_settings().into_owned();
                tailnet.dns = Some(dns::normalize_settings(settings)?);
            }
            "user_approval" => tailnet.user_approval = wanted.user_approval,
            "key_policy" => {
                let policy = wanted.key_policy.clone().map(key_policy::normalize_policy);
                tailnet.key_policy = policy
                    .transpose()?
                    .filter(|policy| *policy != KeyPolicy::default());
            }
            "ipv4_pool" => tailnet.ipv4_pool.clone_from(&wanted.ipv4_pool),
            "ipv6_pool" => tailnet.ipv6_pool.clone_from(&wanted.ipv6_pool),
            other => {
                let problem = format!("\"{other}\" is no field that can be changed");
                return Err(IdentityError::invalid("update_mask", problem));
            }
        }
    }
    check_tailnet(tailnet)
}

fn check_tailnet(tailnet: &Tailnet) -> Result<(), IdentityError> {
    check_text("display_name", &tailnet.display_name, 100)?;
    for label in tailnet.magic_dns_suffix.split('.') {
        check_label("magic_dns_suffix", label)?;
    }
    let ipv4: Ipv4Net = parse_prefix("ipv4_pool", &tailnet.ipv4_pool)?;
    if !parse_prefix::<Ipv4Net>("ipv4_pool", IPV4)?.contains(&ipv4) {
        return Err(IdentityError::invalid(
            "ipv4_pool",
            format!("lies outside {IPV4}"),
        ));
    }
    let ipv6: Ipv6Net = parse_prefix("ipv6_pool", &tailnet.ipv6_pool)?;
    if !parse_prefix::<Ipv6Net>("ipv6_pool", IPV6)?.contains(&ipv6) {
        return Err(IdentityError::invalid(
            "ipv6_pool",
            format!("lies outside {IPV6}"),
        ));
    }
    let lifetime = tailnet.key_lifetime.map(|lifetime| lifetime.seconds);
    if lifetime.is_some_and(|seconds| !(60..=LONGEST_KEY_LIFETIME).contains(&seconds)) {
        let problem = "is not between a minute and 100 years; leave it out for keys without end";
        return Err(IdentityError::invalid("key_lifetime", problem));
    }
    Ok(())
}

/// Returns the settings other than DNS as the audit trail shows them.
pub fn describe_settings(tailnet: &Tailnet) -> Value {
    json!({
        "display_name": tailnet.display_name,
        "key_lifetime_seconds": tailnet.key_lifetime.map(|lifetime| lifetime.seconds),
        "machine_approval": tailnet.machine_approval,
        "user_approval": tailnet.user_approval,
        "require_key_proof": tailnet.require_key_proof,
        "key_policy": key_policy::describe_policy(tailnet.key_policy.as_ref()),
        "auto_update": tailnet.auto_update,
        "ipv4_pool": tailnet.ipv4_pool,
        "ipv6_pool": tailnet.ipv6_pool,
    })
}

fn parse_prefix<T: std::str::FromStr>(field: &'static str, text: &str) -> Result<T, IdentityError> {
    text.parse().map_err(|_| {
        IdentityError::invalid(field, format!("\"{text}\" is no prefix such as {IPV4}"))
    })
}

#[cfg(test)]
mod tests;
