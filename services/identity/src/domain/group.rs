//! What groups may be, and what a login's groups mean.

use std::collections::BTreeSet;

use bowline_proto::identity::v1::{Connection, Group, GroupSource, Membership, Role, User};
use serde_json::{Value, json};

use super::check_text;
use crate::error::IdentityError;

/// The most groups of a tailnet. Rows of releases before groups were objects are taken over all the same.
pub const MOST_OF_TAILNET: usize = 10_000;
/// The most groups of a user.
pub const MOST_OF_USER: usize = 1000;
/// The longest name, in bytes.
const LONGEST_NAME: usize = 200;

/// Checks a name that an administrator chooses.
pub fn check_group_name(name: &str) -> Result<(), IdentityError> {
    check_text("name", name, LONGEST_NAME)?;
    if name.is_empty() || name.trim() != name {
        let problem = "is empty, or begins or ends with a space";
        return Err(IdentityError::invalid("name", problem));
    }
    if name.starts_with("group:") {
        let problem = "has no \"group:\" before it: only policies write it so";
        return Err(IdentityError::invalid("name", problem));
    }
    Ok(())
}

/// Returns the group names of a provider in the form that groups have here. Without what would break a line, and without
/// those that are empty or too long then; at most [`MOST_OF_USER`].
pub fn clean_names(claimed: &[String]) -> BTreeSet<String> {
    let clean = |name: &String| {
        let plain = |c: &char| !c.is_control() && !"\"\\".contains(*c);
        let clean: String = name.chars().filter(plain).collect();
        let clean = clean.trim();
        (!clean.is_empty() && clean.len() <= LONGEST_NAME).then(|| clean.to_owned())
    };
    claimed
        .iter()
        .filter_map(clean)
        .take(MOST_OF_USER)
        .collect()
}

/// Returns the membership that a connection's claims give.
pub fn claimed_membership(group_id: u64, connection_id: u64) -> Membership {
    Membership {
        group_id,
        source: GroupSource::Connection.into(),
        connection_id,
    }
}

/// Returns the membership that an administrator gives.
pub fn manual_membership(group_id: u64) -> Membership {
    Membership {
        group_id,
        source: GroupSource::Manual.into(),
        connection_id: 0,
    }
}

/// Says who keeps a group or membership that is not an administrator's, in words that say what to do.
pub fn refuse_owned(what: &str, source: GroupSource) -> IdentityError {
    let owner = match source {
        GroupSource::Connection => {
            "an identity provider, by its claims: change it there, or the connection"
        }
        _ => "an identity provider, by SCIM: change it there",
    };
    IdentityError::ProviderOwned(format!("{what} is kept by {owner}"))
}

/// Returns the role that a login gives a user, and the connection it comes from: `None` where the role stays as it is.
///
/// Owners keep their role, and so does who has one from an administrator.
pub fn role_by_groups(
    connection: &Connection,
    user: &User,
    claimed: &[String],
) -> Option<(Role, u64)> {
    let has_own = user.role_connection_id == connection.id && connection.id != 0;
    if user.role() == Role::Owner || !(has_own || user.role() == Role::Member) {
        return None;
    }
    let mut mapped = connection.role_groups.iter();
    let mapped = mapped.find(|mapped| claimed.contains(&mapped.group));
    let wanted = match mapped {
        Some(mapped) if mapped.role() != Role::Owner => (mapped.role(), connection.id),
        _ => (Role::Member, 0),
    };
    (wanted != (user.role(), user.role_connection_id)).then_some(wanted)
}

/// Returns a group as the audit trail shows it.
pub fn describe_group(group: &Group) -> Value {
    let source = group.source().as_str_name();
    json!({
        "name": group.name,
        "source": source.trim_start_matches("GROUP_SOURCE_").to_lowercase(),
        "connection_id": group.connection_id,
    })
}

#[cfg(test)]
mod tests;
