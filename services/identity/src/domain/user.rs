//! What the fields of a user may be.

use bowline_proto::identity::v1::{Role, User};

use serde_json::{Value, json};

use super::check_text;
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
            "suspended" => user.suspended = wanted.suspended,
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

/// Returns the fields of a user as the audit trail shows them.
pub fn describe_user(user: &User) -> Value {
    json!({
        "login_name": user.login_name,
        "display_name": user.display_name,
        "profile_pic_url": user.profile_pic_url,
        "role": role_name(user.role()),
        "groups": user.groups,
        "suspended": user.suspended,
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

/// Says whether a tailnet would have no owner left if user `id` were `after`, or were deleted for `None`. A suspended owner
/// does not count.
pub fn loses_last_owner(users: &[User], id: u64, after: Option<&User>) -> bool {
    let owns = |user: &User| user.role() == Role::Owner && !user.suspended;
    let was = users.iter().any(|user| user.id == id && owns(user));
    let others = users.iter().any(|user| user.id != id && owns(user));
    was && !others && !after.is_some_and(owns)
}

#[cfg(test)]
mod tests;
