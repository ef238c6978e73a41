//! Conditions: whom they apply to, what is asked of the provider because of them, and whether a login meets them.

use bowline_proto::identity::v1::{Condition, ConditionScope, Device, LoginPurpose, Role, User};
use bowline_service_kit::source_networks;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{check_text, login::opens_session};
use crate::error::IdentityError;

/// The most values of one list.
const MOST_VALUES: usize = 20;
/// The longest age, in seconds: a year.
const LONGEST_AGE: i64 = 366 * 24 * 3600;
/// How far the clocks of this machine and the provider's may differ.
const SKEW: TimeDelta = TimeDelta::seconds(60);

/// By which kind of connection a person has logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum ProofKind {
    /// OpenID Connect.
    Oidc,
    /// SAML.
    Saml,
    /// A passkey of this server, or a session that one or a link has opened.
    Local,
}

/// How a provider says that it has authenticated a person.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct LoginProof {
    /// The kind of connection.
    pub kind: ProofKind,
    /// The claim `acr`, or the AuthnContext class.
    pub class: Option<String>,
    /// The claim `amr`.
    pub methods: Vec<String>,
    /// When, in seconds since 1970.
    pub authenticated_at: Option<i64>,
}

impl LoginProof {
    /// Returns what a passkey proves: that the person has a device and has unlocked it (RFC 8176).
    pub fn of_passkey(at: DateTime<Utc>) -> Self {
        Self {
            kind: ProofKind::Local,
            class: None,
            methods: ["hwk", "user", "mfa"].map(str::to_owned).to_vec(),
            authenticated_at: Some(at.timestamp()),
        }
    }

    /// Returns what a link that works once proves: that somebody was given it.
    pub fn of_invitation(at: DateTime<Utc>) -> Self {
        Self {
            methods: Vec::new(),
            ..Self::of_passkey(at)
        }
    }
}

/// What a provider is asked for beyond who the person is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct AskedProof {
    /// Classes of authentication, best first.
    pub classes: Vec<String>,
    /// How long ago the person may have logged in, in seconds.
    pub max_age: Option<u64>,
    /// The person is to log in anew.
    pub login_again: bool,
}

/// A login that conditions are applied to.
#[derive(Clone, Copy, Debug)]
pub struct ConditionedLogin<'a> {
    /// What it lets in.
    pub purpose: LoginPurpose,
    /// The device.
    pub device: &'a Device,
    /// The connection.
    pub connection_id: u64,
    /// Its kind.
    pub kind: ProofKind,
}

/// Checks a condition, and writes it in one form.
pub fn normalize_condition(condition: &mut Condition) -> Result<(), IdentityError> {
    let invalid = |field, problem: &str| Err(IdentityError::invalid(field, problem));
    let wants = match condition.scope() {
        ConditionScope::Unspecified => return invalid("scope", "is missing"),
        ConditionScope::Everyone | ConditionScope::Renewal | ConditionScope::Administration => {
            (false, false, false)
        }
        ConditionScope::Role => (true, false, false),
        ConditionScope::Group => (false, true, false),
        ConditionScope::Tag => (false, false, true),
    };
    if let Some(name) = condition.group.strip_prefix("group:") {
        condition.group = name.to_owned();
    }
    let has = (
        condition.role() != Role::Unspecified,
        !condition.group.is_empty(),
        !condition.tag.is_empty(),
    );
    if wants != has {
        return invalid(
            "scope",
            "has the role, group or tag that it names, and no other",
        );
    }
    check_text("group", &condition.group, 254)?;
    check_text("tag", &condition.tag, 100)?;
    if wants.2 && !condition.tag.starts_with("tag:") {
        return invalid("tag", "begins with \"tag:\"");
    }
    for (field, list) in [
        ("acr", &mut condition.acr),
        ("amr", &mut condition.amr),
        ("authn_contexts", &mut condition.authn_contexts),
        ("networks", &mut condition.networks),
    ] {
        if list.len() > MOST_VALUES {
            return Err(IdentityError::invalid(
                field,
                format!("has more than {MOST_VALUES} values"),
            ));
        }
        for value in &*list {
            check_text(field, value, 500)?;
            if value.is_empty() || value.contains(' ') {
                return invalid(field, "are words without spaces");
            }
        }
    }
    for network in &mut condition.networks {
        let read = source_networks::read_network(network);
        let read = read.map_err(|problem| IdentityError::invalid("networks", problem))?;
        *network = read.to_string();
    }
    if let Some(age) = &condition.max_age
        && !(0..=LONGEST_AGE).contains(&age.seconds)
    {
        return invalid("max_age", "is at most a year, and not below zero");
    }
    let asks = !condition.acr.is_empty()
        || !condition.amr.is_empty()
        || !condition.authn_contexts.is_empty()
        || condition.max_age.is_some()
        || condition.connection_id != 0
        || !condition.networks.is_empty();
    match asks {
        true => Ok(()),
        false => invalid(
            "condition",
            "asks for nothing: name what a login must be like",
        ),
    }
}

/// Returns the conditions that apply to a login. Before the person is known, those on roles and groups do not.
pub fn applying<'a>(
    conditions: &'a [Condition],
    login: &ConditionedLogin<'_>,
    user: Option<&User>,
) -> Vec<&'a Condition> {
    let applies = |condition: &&Condition| match condition.scope() {
        ConditionScope::Unspecified => false,
        ConditionScope::Everyone => true,
        ConditionScope::Role => user.is_some_and(|user| user.role() == condition.role()),
        ConditionScope::Group => user.is_some_and(|user| is_member(user, condition)),
        ConditionScope::Tag => login.device.requested_tags.contains(&condition.tag),
        ConditionScope::Renewal => login.device.renews,
        ConditionScope::Administration => {
            opens_session(login.purpose) && user.is_some_and(may_administer)
        }
    };
    conditions.iter().filter(applies).collect()
}

/// Says whether a user has more to administer than what is his or her own.
pub fn may_administer(user: &User) -> bool {
    !matches!(user.role(), Role::Member | Role::Unspecified)
}

fn is_member(user: &User, condition: &Condition) -> bool {
    let mut memberships = user.memberships.iter();
    memberships.any(|membership| membership.group_id == condition.group_id)
}

/// Says when a condition applies to a user; `None` when it never does.
pub fn describe_occasion(condition: &Condition, user: &User) -> Option<String> {
    match condition.scope() {
        ConditionScope::Unspecified => None,
        ConditionScope::Everyone => Some("always".to_owned()),
        ConditionScope::Role => {
            (user.role() == condition.role()).then(|| "always: because of the role".to_owned())
        }
        ConditionScope::Group => is_member(user, condition)
            .then(|| format!("always: because of group:{}", condition.group)),
        ConditionScope::Tag => Some(format!("when {} is asked for", condition.tag)),
        ConditionScope::Renewal => Some("when a device needs a new key".to_owned()),
        ConditionScope::Administration => {
            may_administer(user).then(|| "when logging in to administer".to_owned())
        }
    }
}

/// Returns the classes that meet a condition by a kind of connection.
fn classes_of(condition: &Condition, kind: ProofKind) -> &[String] {
    match kind {
        ProofKind::Oidc => &condition.acr,
        ProofKind::Saml => &condition.authn_contexts,
        ProofKind::Local => &[],
    }
}

/// Returns what a provider is asked for because of conditions.
pub fn ask_for(conditions: &[&Condition], kind: ProofKind) -> AskedProof {
    let mut classes: Vec<String> = Vec::new();
    for condition in conditions {
        let wanted = classes_of(condition, kind);
        if wanted.is_empty() {
            continue;
        }
        // A class that meets all of them is better than one that meets some.
        let both: Vec<_> = classes
            .iter()
            .filter(|class| wanted.contains(class))
            .cloned()
            .collect();
        match both.is_empty() {
            true => classes.extend(wanted.iter().cloned()),
            false => classes = both,
        }
    }
    let ages = conditions.iter().filter_map(|one| one.max_age.as_ref());
    AskedProof {
        classes,
        max_age: ages.filter_map(|age| u64::try_from(age.seconds).ok()).min(),
        login_again: false,
    }
}

/// What becomes of a login under its conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConditionVerdict {
    /// All are met.
    Met,
    /// More is to be asked of the provider.
    StepUp(AskedProof),
    /// It is refused, in words for the person.
    Refused(String),
}

/// Judges a login. `has_stepped_up` says whether the provider was asked for more already.
pub fn judge(
    conditions: &[&Condition],
    login: &ConditionedLogin<'_>,
    proof: &LoginProof,
    has_stepped_up: bool,
    now: DateTime<Utc>,
) -> ConditionVerdict {
    let mut needs_more = None;
    for condition in conditions {
        match find_shortfall(condition, login, proof, now) {
            None => {}
            Some(Shortfall { words, is_final }) if is_final || has_stepped_up => {
                return ConditionVerdict::Refused(words);
            }
            Some(_) => needs_more = Some(()),
        }
    }
    match needs_more {
        None => ConditionVerdict::Met,
        Some(()) => ConditionVerdict::StepUp(AskedProof {
            login_again: true,
            ..ask_for(conditions, login.kind)
        }),
    }
}

/// Why a login does not meet a condition.
struct Shortfall {
    words: String,
    /// The provider can not make it good.
    is_final: bool,
}

fn find_shortfall(
    condition: &Condition,
    login: &ConditionedLogin<'_>,
    proof: &LoginProof,
    now: DateTime<Utc>,
) -> Option<Shortfall> {
    let final_one = |words: &str| {
        Some(Shortfall {
            words: words.to_owned(),
            is_final: true,
        })
    };
    if condition.connection_id != 0 && condition.connection_id != login.connection_id {
        return final_one(
            "Your organisation asks you to log in with another provider for this. Open the address on the device again, and choose it.",
        );
    }
    // Who connects by SSH is inside the network already, and where from is not known.
    let knows_network = login.purpose != LoginPurpose::SshCheck;
    if knows_network && !condition.networks.is_empty() {
        let source = &login.device.source_address;
        if !source_networks::networks_include(&condition.networks, source) {
            return final_one(
                "Your organisation lets devices in only from its own networks, and this one asks from elsewhere.",
            );
        }
    }
    let wants_proof = !condition.acr.is_empty()
        || !condition.amr.is_empty()
        || !condition.authn_contexts.is_empty();
    let classes = classes_of(condition, proof.kind);
    let has_methods = proof.kind != ProofKind::Saml && !condition.amr.is_empty();
    if wants_proof && classes.is_empty() && !has_methods {
        return final_one(
            "Your organisation asks for a stronger login than this provider can tell of. Choose another provider, or ask an administrator.",
        );
    }
    let has_class = proof
        .class
        .as_ref()
        .is_some_and(|class| classes.contains(class));
    let is_by_method = || {
        proof
            .methods
            .iter()
            .any(|method| condition.amr.contains(method))
    };
    if (!classes.is_empty() && !has_class) || (has_methods && !is_by_method()) {
        return Some(Shortfall {
            words: "Your organisation asks for a stronger login, such as a second factor, and your provider did not ask you for it. \
                    Set one up there, or ask an administrator."
                .to_owned(),
            is_final: false,
        });
    }
    let age = condition.max_age.as_ref()?;
    let at = proof
        .authenticated_at
        .and_then(|at| DateTime::from_timestamp(at, 0));
    let is_fresh = at.is_some_and(|at| now - at <= TimeDelta::seconds(age.seconds) + SKEW);
    (!is_fresh).then(|| Shortfall {
        words: "Your organisation asks you to log in anew, and your provider says that you did so too long ago, or does not say."
            .to_owned(),
        is_final: false,
    })
}

/// Returns a condition as the audit trail shows it.
pub fn describe_condition(condition: &Condition) -> Value {
    json!({
        "id": condition.id,
        "scope": condition.scope().as_str_name(),
        "role": condition.role().as_str_name(),
        "group": condition.group,
        "group_id": condition.group_id,
        "tag": condition.tag,
        "acr": condition.acr,
        "amr": condition.amr,
        "authn_contexts": condition.authn_contexts,
        "max_age_seconds": condition.max_age.as_ref().map(|age| age.seconds),
        "connection_id": condition.connection_id,
        "networks": condition.networks,
    })
}

#[cfg(test)]
mod tests;
