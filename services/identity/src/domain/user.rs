//! What the fields of a user may be.

use bowline_proto::identity::v1::{Role, User};

use serde_json::{Value, json};

use super::{check_text, suspension::Suspension};
use crate::error::IdentityError;

/// Checks the fields that a person chooses.
pub fn check_user(user: &User) -> Result<(), IdentityError> {
    let login_name = &user.login_name;
    check_text("login_name", login_name, 254)?;
    let form = match login_name.split_once('@') {
        Some((local, domain)) => !local.is_empty() && !domain.contains('@'),
        None => false,
    };
    if !form || login_name.contains(char::is_whitespace) {
        let problem = "has the form name@domain, or name@ without one";
        return Err(IdentityError::invalid("login_name", problem));
    }
    check_text("display_name", &user.display_name, 200)?;
    check_text("profile_pic_url", &user.profile_pic_url, 2000)?;
    if Role::try_from(user.role).is_err() {
        return Err(IdentityError::invalid("role", "is not known"));
    }
    if user.groups.len() > 1000 {
        return Err(IdentityError::invalid("groups", "are more than 1,000"));
    }
    user.groups
        .iter()
        .try_for_each(|group| check_text("groups", group, 200))
}

/// Sets the fields of `user` that the mask names to those of `wanted`, and checks the result.
pub fn update_fields(user: &mut User, wanted: &User, mask: &[String]) -> Result<(), IdentityError> {
    for path in mask {
        match path.as_str() {
            "display_name" => user.display_name.clone_from(&wanted.display_name),
            "profile_pic_url" => user.profile_pic_url.clone_from(&wanted.profile_pic_url),
            "role" => {
                user.role = wanted.role;
                user.role_connection_id = 0;
            }
            "suspended" => {
                let before = Suspension::of(user);
                let after = Suspension {
                    by_administrator: wanted.suspended,
                    awaits_approval: before.awaits_approval && wanted.suspended,
                    by_connection_id: 0,
                    ..before
                };
                after.apply_to(user);
                refuse_inactive(user, wanted)?;
            }
            "groups" => {
                user.groups.clone_from(&wanted.groups);
                user.groups.sort();
                user.groups.dedup();
            }
            other => {
                let problem = format!("\"{other}\" is no field that can be changed");
                return Err(IdentityError::invalid("update_mask", problem));
            }
        }
    }
    check_user(user)
}

/// Refuses to restore a user whom the provider keeps out.
fn refuse_inactive(user: &User, wanted: &User) -> Result<(), IdentityError> {
    if user.suspended && !wanted.suspended {
        return Err(IdentityError::ProviderOwned(format!(
            "{} is not active at the identity provider, which says so by SCIM: activate the user there",
            user.login_name
        )));
    }
    Ok(())
}

/// Returns the fields of a user as the audit trail shows them.
pub fn describe_user(user: &User) -> Value {
    json!({
        "login_name": user.login_name,
        "display_name": user.display_name,
        "profile_pic_url": user.profile_pic_url,
        "role": role_name(user.role()),
        "groups": user.groups,
        "suspended": user.suspended,
        "awaits_approval": user.awaits_approval,
        "suspended_by": Suspension::of(user).source_names(),
    })
}

/// Returns the name of a role, as people write it.
pub fn role_name(role: Role) -> String {
    let name = role.as_str_name().trim_start_matches("ROLE_");
    name.to_lowercase().replace('_', "-")
}

/// Returns a login name in the form in which it is compared: in lower case, by Unicode's rules for no language in
/// particular. Two names that differ only in case have the same form. An accent that is written in two ways (as one
/// character, or as two) still makes two forms.
pub fn folded_login_name(login_name: &str) -> String {
    login_name.to_lowercase()
}

/// Checks that a change keeps the owner: `before` becomes `after`, or is deleted for `None`.
///
/// Tailnets from before there was one owner only may have several: they stay until the ownership is transferred, and each but
/// the last can be given another role. One without an owner gets its first as a role. Who is alone in a tailnet can go, so
/// that the tailnet can be deleted.
pub fn check_owner(
    users: &[User],
    before: &User,
    after: Option<&User>,
) -> Result<(), IdentityError> {
    let is_owner = before.role() == Role::Owner;
    let others = users.iter().filter(|user| user.id != before.id);
    let has_other = others.into_iter().any(|user| user.role() == Role::Owner);
    match after {
        None if is_owner && users.len() > 1 => Err(OWNER_STAYS),
        Some(after) if is_owner && after.suspended && !before.suspended => Err(OWNER_STAYS),
        Some(after) if is_owner && after.role() != Role::Owner && !has_other => Err(OWNER_STAYS),
        Some(after) if !is_owner && after.role() == Role::Owner && has_other => Err(ONE_OWNER),
        Some(after) if !is_owner && after.role() == Role::Owner => check_new_owner(after),
        _ => Ok(()),
    }
}

/// Checks that a user may become the owner.
pub fn check_new_owner(user: &User) -> Result<(), IdentityError> {
    match user.suspended {
        true => Err(IdentityError::Refused(
            "the user is suspended, or waits for approval: restore or approve the user first",
        )),
        false => Ok(()),
    }
}

const OWNER_STAYS: IdentityError = IdentityError::Refused(
    "the tailnet's owner stays, and is not suspended: transfer the ownership first (bowline users transfer-ownership)",
);
const ONE_OWNER: IdentityError = IdentityError::Refused(
    "the tailnet has an owner, and only one: transfer the ownership instead (bowline users transfer-ownership)",
);

#[cfg(test)]
mod tests;
