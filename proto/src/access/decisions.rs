//! What a token may do where the fields of a request matter. All of it is pure; operators are asked about nothing here.

use super::{
    Area, Denial, Principal, Role, Scope, Scopes, TokenBearer, principal::role_name, rules,
};

/// Roles that administer others, from the one that no other may touch.
const CHIEFS: [Role; 2] = [Role::Owner, Role::Admin];

fn denied(text: impl Into<String>) -> Denial {
    Denial::Field(text.into())
}

/// Decides whether a role may be given to a user.
///
/// Nobody changes his own role. Owners are made and unmade by owners; admins by owners and admins, so that who keeps users
/// (IT admins, programs) can not make himself one by another account.
///
/// # Errors
///
/// Why not.
pub fn may_set_role(by: &Principal, user_id: u64, before: Role, after: Role) -> Result<(), Denial> {
    if before == after {
        return Ok(());
    }
    if by.user_id() == Some(user_id) {
        return Err(denied(
            "nobody changes his own role: ask another owner or admin",
        ));
    }
    for role in [before, after] {
        may_rule_over(by, role)?;
    }
    Ok(())
}

/// Decides whether a user who has this role may be suspended, restored or deleted.
///
/// # Errors
///
/// Why not.
pub fn may_end_user(by: &Principal, user_id: u64, role: Role) -> Result<(), Denial> {
    if by.user_id() == Some(user_id) {
        return Err(denied(
            "a user's token does not suspend or delete its user: ask another owner or admin",
        ));
    }
    may_rule_over(by, role)
}

/// Decides whether the ownership of a tailnet may be given away: by an owner, for `is_owner` knows who that is now.
///
/// # Errors
///
/// Why not.
pub fn may_transfer_ownership(
    by: &Principal,
    is_owner: impl FnOnce(u64) -> bool,
) -> Result<(), Denial> {
    match by.user_id() {
        Some(id) if is_owner(id) => Ok(()),
        _ => Err(denied(
            "the tailnet's owner gives the ownership away, or an operator: nobody else",
        )),
    }
}

/// Only owners rule over owners, and only owners and admins over admins.
fn may_rule_over(by: &Principal, role: Role) -> Result<(), Denial> {
    let ruler = match &by.holder {
        TokenBearer::User { role, .. } => *role,
        // A program that may do everything is as good as an admin; one that keeps users is as good as an IT admin.
        TokenBearer::Client { .. } if by.scopes.include(Scope::to_change(Area::All)) => Role::Admin,
        TokenBearer::Client { .. } => Role::ItAdmin,
    };
    let rank = |role| CHIEFS.iter().position(|chief| *chief == role);
    let is_enough = match (rank(role), rank(ruler)) {
        (None, _) => true,
        (Some(wanted), Some(own)) => own <= wanted,
        (Some(_), None) => false,
    };
    match is_enough {
        true => Ok(()),
        false => Err(denied(format!(
            "{} may not do this to who is or becomes {}",
            match by.role() {
                Some(role) => format!("the role {}", role_name(role)),
                None => "a program".to_owned(),
            },
            role_name(role)
        ))),
    }
}

/// Decides whether a new API key may have these scopes: no more than the token that makes it. What its user may is decided
/// when it is used.
///
/// # Errors
///
/// Why not.
pub fn may_make_api_key(by: &Principal, user_id: u64, wanted: &Scopes) -> Result<(), Denial> {
    if by.user_id() != Some(user_id) {
        return Err(denied(
            "an API key is made by its own user, or by an operator",
        ));
    }
    check_scopes(by, wanted)
}

/// Decides whether a new OAuth client may have these scopes and tags: no more than who makes it may do, for it is asked for
/// no role when it is used.
///
/// # Errors
///
/// Why not.
pub fn may_make_client(by: &Principal, wanted: &Scopes, tags: &[String]) -> Result<(), Denial> {
    check_scopes(by, wanted)?;
    may_set_tags(by, tags)?;
    let Some(role) = by.role() else {
        return Ok(());
    };
    if let Some(scope) = wanted.iter().find(|scope| !role_has_scope(role, *scope)) {
        let role = role_name(role);
        return Err(denied(format!(
            "the role {role} may not do all that the scope {scope} is for"
        )));
    }
    match tags.is_empty() || may_use_any_tag(by) {
        true => Ok(()),
        false => Err(denied(format!(
            "the role {} may not give tags to OAuth clients",
            role_name(role)
        ))),
    }
}

fn check_scopes(by: &Principal, wanted: &Scopes) -> Result<(), Denial> {
    let missing = wanted.without(&by.scopes);
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Denial::Scope {
            has: by.scopes.clone(),
            needed: missing,
        }),
    }
}

/// Decides whether a person at an identity provider may be made this user: whoever logs in as the user has the user's role.
///
/// # Errors
///
/// Why not.
pub fn may_link_user(by: &Principal, role: Role) -> Result<(), Denial> {
    may_rule_over(by, role)
}

/// Says whether a role may make every call that a scope is for.
#[must_use]
pub fn role_has_scope(role: Role, scope: Scope) -> bool {
    let rules = rules().iter().flat_map(|rule| rule.tokens);
    let mut covered =
        rules.filter(|token| token.scope.is_some_and(|needed| scope.includes(needed)));
    covered.all(|token| token.roles.contains(&role))
}

/// Decides whether a pre-auth key may be made for this user, or for none, with these tags.
///
/// # Errors
///
/// Why not.
pub fn may_make_pre_auth_key(by: &Principal, user_id: u64, tags: &[String]) -> Result<(), Denial> {
    match &by.holder {
        TokenBearer::User { id, .. } if user_id == 0 || user_id == *id => Ok(()),
        TokenBearer::User { .. } => Err(denied(
            "a user's token makes keys for its user's own devices, or for tagged ones: leave out the user, and give tags",
        )),
        TokenBearer::Client { .. } if user_id != 0 => Err(denied(
            "a program makes keys for tagged devices: leave out the user, and give tags",
        )),
        TokenBearer::Client { tags: own } => check_tags_of_client(own, tags),
    }
}

/// Decides whether a device may be given these tags.
///
/// # Errors
///
/// Why not.
pub fn may_set_tags(by: &Principal, tags: &[String]) -> Result<(), Denial> {
    match &by.holder {
        TokenBearer::User { .. } => Ok(()),
        TokenBearer::Client { tags: own } => check_tags_of_client(own, tags),
    }
}

fn check_tags_of_client(own: &[String], wanted: &[String]) -> Result<(), Denial> {
    match wanted.iter().find(|tag| !own.contains(tag)) {
        None => Ok(()),
        Some(tag) => Err(denied(format!(
            "the OAuth client may not give {tag}, it has {}: take a client that has this tag, or let an administrator give it",
            match own {
                [] => "no tags".to_owned(),
                own => own.join(", "),
            }
        ))),
    }
}

/// Says whether the holder may give every tag that the policy defines, without being its owner.
#[must_use]
pub fn may_use_any_tag(by: &Principal) -> bool {
    match by.role() {
        Some(role) => matches!(role, Role::Owner | Role::Admin | Role::NetworkAdmin),
        // Checked against the client's own tags.
        None => true,
    }
}

/// What a setting of a tailnet needs.
struct SettingRule {
    /// The scope.
    area: Area,
    /// The roles.
    roles: &'static [Role],
}

/// Decides whether settings of a tailnet may be changed: the names of fields, as in an update mask.
///
/// # Errors
///
/// Why not.
pub fn may_change_settings<'a>(
    by: &Principal,
    fields: impl IntoIterator<Item = &'a str>,
) -> Result<(), Denial> {
    for field in fields {
        let rule = rule_of_setting(field);
        let needed = Scope::to_change(rule.area);
        if !by.scopes.include(needed) {
            return Err(Denial::Scope {
                has: by.scopes.clone(),
                needed: Scopes::new([needed]),
            });
        }
        if let Some(role) = by.role().filter(|role| !rule.roles.contains(role)) {
            let role = role_name(role);
            return Err(denied(format!("the role {role} may not change {field}")));
        }
    }
    Ok(())
}

fn rule_of_setting(field: &str) -> SettingRule {
    let of_network = &[Role::Owner, Role::Admin, Role::NetworkAdmin];
    match field.split('.').next().unwrap_or(field) {
        "dns" | "magic_dns_suffix" => SettingRule {
            area: Area::Dns,
            roles: of_network,
        },
        "ipv4_pool" | "ipv6_pool" => SettingRule {
            area: Area::NetworkingSettings,
            roles: of_network,
        },
        _ => SettingRule {
            area: Area::FeatureSettings,
            roles: &[Role::Owner, Role::Admin, Role::ItAdmin],
        },
    }
}

#[cfg(test)]
mod tests;
