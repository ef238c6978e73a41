//! What API keys, OAuth clients and access tokens may be.

use bowline_proto::access::{Area, Scope, Scopes};
use chrono::TimeDelta;

use super::check_text;
use crate::error::IdentityError;

/// The most days that an API key lives, and how many it lives when nobody says.
const MOST_DAYS: u32 = 90;
/// How long an access token lives.
pub const ACCESS_TOKEN_LIFETIME: TimeDelta = TimeDelta::hours(1);
/// The most tags of a client.
const MOST_TAGS: usize = 100;

/// Returns how long a new API key lives.
pub fn api_key_lifetime(days: u32) -> Result<TimeDelta, IdentityError> {
    match days {
        0 => Ok(TimeDelta::days(MOST_DAYS.into())),
        1..=MOST_DAYS => Ok(TimeDelta::days(days.into())),
        _ => Err(IdentityError::invalid(
            "days",
            "an API key lives for 1 to 90 days",
        )),
    }
}

/// Checks what a credential is for, in words.
pub fn check_description(description: &str) -> Result<(), IdentityError> {
    check_text("description", description, 200)
}

/// Reads the scopes of a request.
pub fn read_scopes(texts: &[String]) -> Result<Scopes, IdentityError> {
    Scopes::parse(texts.iter().map(String::as_str))
        .map_err(|error| IdentityError::invalid("scopes", error.to_string()))
}

/// Checks what a new OAuth client may do.
pub fn check_client(scopes: &Scopes, tags: &[String]) -> Result<(), IdentityError> {
    if scopes.is_empty() {
        let problem = "say what the client is for, such as \"devices:core:read\"";
        return Err(IdentityError::invalid("scopes", problem));
    }
    if tags.len() > MOST_TAGS {
        return Err(IdentityError::invalid("tags", "are more than 100"));
    }
    for tag in tags {
        let name = tag.strip_prefix("tag:").unwrap_or_default();
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if name.is_empty() || name.len() > 100 || !name.bytes().all(is_allowed) {
            return Err(IdentityError::invalid(
                "tags",
                format!("\"{tag}\" is no tag, such as tag:ci"),
            ));
        }
    }
    let gives_tags = |scope: Scope| {
        [Area::DevicesCore, Area::AuthKeys]
            .into_iter()
            .any(|area| scope == Scope::to_change(area))
    };
    match tags.is_empty() && scopes.iter().any(gives_tags) {
        true => Err(IdentityError::invalid(
            "tags",
            "a client for devices:core or auth_keys needs the tags that it may give",
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
