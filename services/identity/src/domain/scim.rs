//! What the attributes that a provider sends by SCIM mean for a user or group here.

use bowline_proto::identity::v1::{Connection, Role, ScimToken, User};
use bowline_scim::{ScimError, ScimErrorKind};
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    person::{clean_text, is_in_domain},
    suspension::Suspension,
    user::check_user,
};
use crate::error::IdentityError;

/// The longest name and the longest external identifier, in bytes.
const LONGEST_TEXT: usize = 255;

/// Returns a text attribute.
pub fn find_text<'a>(attributes: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    attributes.get(name).and_then(Value::as_str)
}

/// Returns the external identifier, and the name in the form in which names that differ only in case are one.
pub fn read_names(
    attributes: &Map<String, Value>,
    name: &str,
) -> Result<(Option<String>, String), ScimError> {
    let external = find_text(attributes, "externalId").filter(|text| !text.is_empty());
    let name_text = find_text(attributes, name).unwrap_or_default();
    for (what, text) in [
        ("externalId", external.unwrap_or_default()),
        (name, name_text),
    ] {
        if text.len() > LONGEST_TEXT {
            let detail = format!("{what} is longer than {LONGEST_TEXT} bytes");
            return Err(ScimError::value(detail));
        }
    }
    Ok((external.map(str::to_owned), fold_name(name_text)))
}

/// Returns a name in the form in which it is looked up.
pub fn fold_name(name: &str) -> String {
    name.to_lowercase()
}

/// Returns the login name of a person whom a connection's provider calls so: the name itself, or the name with the host of the
/// provider, as who logs in without a mail address has it.
pub fn login_name_of(user_name: &str, issuer: &str) -> Result<String, ScimError> {
    if user_name.contains('@') {
        return Ok(user_name.to_owned());
    }
    let issuer = Url::parse(issuer).ok();
    match issuer.as_ref().and_then(Url::host_str) {
        Some(host) => Ok(format!("{user_name}@{host}")),
        None => Err(ScimError::value(
            "userName has the form name@domain, because the provider's name has no host",
        )),
    }
}

/// Returns the name for people.
pub fn display_name(attributes: &Map<String, Value>) -> String {
    let part = |name: &str| {
        let name = attributes.get("name").and_then(|parts| parts.get(name));
        name.and_then(Value::as_str).unwrap_or_default()
    };
    let chosen = match (find_text(attributes, "displayName"), part("formatted")) {
        (Some(name), _) if !name.is_empty() => name.to_owned(),
        (_, "") => format!("{} {}", part("givenName"), part("familyName")),
        (_, formatted) => formatted.to_owned(),
    };
    clean_text(chosen.trim())
}

/// Says whether the provider lets the person use the network.
pub fn is_active(attributes: &Map<String, Value>) -> bool {
    attributes.get("active") != Some(&Value::Bool(false))
}

/// Lets a user be as the provider says; `before` is what it said so far.
pub fn apply_attributes(
    user: &mut User,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    connection: &Connection,
    issuer: &str,
) -> Result<(), IdentityError> {
    let active = is_active(after);
    let user_name = find_text(after, "userName").unwrap_or_default();
    let was_named = find_text(before, "userName");
    if was_named.is_some_and(|name| name != user_name) {
        match has_given_role(user, connection) {
            false => user.login_name = login_name_of(user_name, issuer)?,
            // Nothing keeps a provider from cutting somebody off: the name stays then.
            true if !active => {}
            true => {
                return Err(IdentityError::denied(format!(
                    "{} has a role that an administrator gave, so that SCIM does not rename the user: whoever has the name has the role",
                    user.login_name
                )));
            }
        }
    }
    let shown = display_name(after);
    if shown != display_name(before) {
        user.display_name = shown;
    }
    if !active && user.role() == Role::Owner {
        return Err(IdentityError::denied(format!(
            "{} is the owner of the tailnet, who can not be deactivated: transfer the ownership first",
            user.login_name
        )));
    }
    let suspension = Suspension {
        by_scim: !active,
        ..Suspension::of(user)
    };
    suspension.apply_to(user);
    check_user(user).map_err(as_scim_error)
}

/// Returns what is wrong with a field of a user in SCIM's words.
fn as_scim_error(error: IdentityError) -> IdentityError {
    match error {
        IdentityError::Invalid {
            field: "login_name",
            problem,
        } => ScimError::value(format!("userName {problem}")).into(),
        other => other,
    }
}

/// Says whether an administrator gave the user the role, so that who the user is, is not the provider's alone to say.
pub fn has_given_role(user: &User, connection: &Connection) -> bool {
    user.role() != Role::Member && user.role_connection_id != connection.id
}

/// Says whether a user who is there already may become the provider's: the connection answers for the domain of the name.
pub fn may_adopt(connection: &Connection, user: &User) -> bool {
    let mut domains = connection.domains.iter();
    domains.any(|domain| is_in_domain(&user.login_name, domain))
}

/// Says whether a name is in the domain of another of the tailnet's connections and in none of this one's: only that one's
/// provider says who has the name.
pub fn is_anothers_name(login_name: &str, connection: &Connection, all: &[Connection]) -> bool {
    let has_domain = |one: &Connection| {
        let mut domains = one.domains.iter();
        domains.any(|domain| is_in_domain(login_name, domain))
    };
    let mut others = all.iter().filter(|other| other.id != connection.id);
    !has_domain(connection) && others.any(has_domain)
}

/// Returns the error of a value that another resource has.
pub fn taken(detail: impl std::fmt::Display) -> IdentityError {
    ScimError::new(ScimErrorKind::Uniqueness, detail).into()
}

/// Returns the version of a resource as an entity tag.
pub fn entity_tag(version: u64) -> String {
    format!("W/\"{version}\"")
}

/// Checks `If-Match`: a version, several, `*`, or nothing at all.
pub fn check_version(if_match: &str, version: u64) -> Result<(), IdentityError> {
    let opaque = |tag: &str| {
        tag.trim()
            .trim_start_matches("W/")
            .trim_matches('"')
            .to_owned()
    };
    let current = version.to_string();
    let is_met = if_match.trim().is_empty()
        || if_match
            .split(',')
            .any(|tag| tag.trim() == "*" || opaque(tag) == current);
    match is_met {
        true => Ok(()),
        false => Err(IdentityError::OtherVersion),
    }
}

/// Returns the names of the attributes that differ, as the audit trail shows them.
pub fn changed_attributes(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<String> {
    let mut names: Vec<_> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let differs = |name: &&String| before.get(*name) != after.get(*name);
    names.into_iter().filter(differs).cloned().collect()
}

/// Returns a token as the audit trail shows it.
pub fn describe_token(token: &ScimToken, connection: &Connection) -> Value {
    json!({ "connection": connection.name, "description": token.description })
}

#[cfg(test)]
mod tests;
