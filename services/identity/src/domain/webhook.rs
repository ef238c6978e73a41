//! What webhooks are sent, in the form of the hosted service, and how.

mod events;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use url::Url;

pub use events::{TrailOwner, WebhookEvent, events_of_entry, test_event};

use crate::error::IdentityError;

/// The events there are. Those of the misconfiguration of devices are known by the hosted service's clients alone.
pub const EVENT_TYPES: [&str; 17] = [
    "nodeCreated",
    "nodeNeedsApproval",
    "nodeApproved",
    "nodeNeedsSignature",
    "nodeSigned",
    "nodeKeyExpiringInOneDay",
    "nodeKeyExpired",
    "nodeDeleted",
    "policyUpdate",
    "userCreated",
    "userNeedsApproval",
    "userApproved",
    "userSuspended",
    "userRestored",
    "userDeleted",
    "userRoleUpdated",
    TEST,
];
/// What a test sends; every webhook gets it.
pub const TEST: &str = "test";
/// All events but tests.
const EVERY_EVENT: &str = "categoryTailnetManagement";
/// Whose forms there are, beside the JSON list of events.
const PROVIDERS: [&str; 5] = ["", "slack", "mattermost", "googlechat", "discord"];
/// The longest URL.
const LONGEST_URL: usize = 2048;

/// How long an event is tried to be delivered.
pub const GIVE_UP_AFTER: TimeDelta = TimeDelta::hours(24);
/// For how long events are signed with the secret before, too.
pub const OVERLAP: TimeDelta = TimeDelta::hours(24);
/// How long after the first failure it is tried again, and how long at most.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(5);
const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(1);

/// Checks where events are to be sent, and returns the URL as it is kept. Whether its address is public is known when it is
/// connected to.
pub fn check_url(text: &str) -> Result<String, IdentityError> {
    let wrong = |problem: &str| IdentityError::invalid("url", problem);
    if text.len() > LONGEST_URL {
        return Err(wrong("is longer than 2,048 characters"));
    }
    let url = Url::parse(text).map_err(|_| wrong("is no URL such as https://example.com/hook"))?;
    if url.scheme() != "https" || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong("is no https URL: events travel encrypted"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(wrong("has a user name or a fragment: leave them out"));
    }
    Ok(url.into())
}

/// Checks whose form events are to have.
pub fn check_provider(provider: &str) -> Result<(), IdentityError> {
    match PROVIDERS.contains(&provider) {
        true => Ok(()),
        false => Err(IdentityError::invalid(
            "provider_type",
            format!(
                "\"{provider}\" is none of slack, mattermost, googlechat, discord; empty is a JSON list of events"
            ),
        )),
    }
}

/// Checks what is subscribed to, and returns it without what is there twice.
pub fn check_subscriptions(wanted: Vec<String>) -> Result<Vec<String>, IdentityError> {
    let mut kept: Vec<String> = Vec::new();
    for one in wanted {
        if !EVENT_TYPES.contains(&&*one) && one != EVERY_EVENT {
            let known = EVENT_TYPES.join(", ");
            let problem = format!("\"{one}\" is no event: known are {EVERY_EVENT} and {known}");
            return Err(IdentityError::invalid("subscriptions", problem));
        }
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    match kept.is_empty() {
        true => Err(IdentityError::invalid(
            "subscriptions",
            format!("are empty: name events, or {EVERY_EVENT} for all"),
        )),
        false => Ok(kept),
    }
}

/// Says whether a webhook with these subscriptions is sent an event of a type.
pub fn is_subscribed(subscriptions: &[String], kind: &str) -> bool {
    subscriptions
        .iter()
        .any(|one| one == EVERY_EVENT || one == kind)
}

/// Returns the body of a request: the form of a provider, or a list with the event.
pub fn request_body(provider: &str, event: &Value) -> String {
    let text = || {
        let part = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
        format!("[{}] {}", part("tailnet"), part("message"))
    };
    match provider {
        "slack" | "mattermost" | "googlechat" => json!({ "text": text() }),
        "discord" => json!({ "content": text(), "allowed_mentions": { "parse": [] } }),
        _ => json!([event]),
    }
    .to_string()
}

/// Returns the header that signs a body: `t=UNIX,v1=HEX`, with a `v1` for each secret, the newest first.
pub fn sign_body(secrets: &[&str], body: &str, now: DateTime<Utc>) -> String {
    let time = now.timestamp();
    let mut header = format!("t={time}");
    for secret in secrets {
        // A key may have any length.
        let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
            continue;
        };
        let mac = mac.chain_update(format!("{time}.{body}")).finalize();
        header += ",v1=";
        header += &hex::encode(mac.into_bytes());
    }
    header
}

/// Returns how long to wait after so many failures in a row: twice as long each time, from half to one and a half of it by
/// chance, so that many webhooks of one server do not come back together.
pub fn pause_after(failures: u32, random: u8) -> TimeDelta {
    let doubled = FIRST_PAUSE * (1_i32 << failures.saturating_sub(1).min(16));
    let pause = doubled.min(LONGEST_PAUSE);
    pause / 2 + pause * i32::from(random) / 256
}

/// Returns a time as events have it.
pub(super) fn event_time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests;
