//! Whether a person whom a provider has identified may log in, and as which user.

use bowline_proto::identity::v1::{Admission, Connection, User};

use serde::{Deserialize, Serialize};
use url::Url;

use super::user::folded_login_name;
use crate::error::IdentityError;

/// A person, as a provider describes him or her.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Person {
    /// Who says so.
    pub issuer: String,
    /// The person at the provider.
    pub subject: String,
    /// The mail address that counts as the person's: one that the provider has verified, unless the connection takes others.
    pub mail: Option<String>,
    /// The name at the provider, for a person without a mail address.
    pub username: String,
    /// The name for people.
    pub display_name: String,
    /// A picture, or empty.
    pub picture: String,
    /// The groups as the provider names them; `None` where that is not known.
    pub groups: Option<Vec<String>>,
}

/// Returns the login name that a person has here: the mail address, or the name at the provider with the host of its
/// issuer, which is nobody's mail address.
pub fn login_name(person: &Person) -> Result<String, IdentityError> {
    if let Some(mail) = &person.mail {
        return Ok(mail.clone());
    }
    let issuer = Url::parse(&person.issuer).ok();
    let host = issuer.as_ref().and_then(Url::host_str).unwrap_or_default();
    let (name, _) = person
        .username
        .split_once('@')
        .unwrap_or((&person.username, ""));
    if name.is_empty() || host.is_empty() {
        return Err(refused(
            "Your provider names no verified mail address for you. Verify your address there, or ask an administrator.",
        ));
    }
    Ok(format!("{name}@{host}"))
}

/// Refuses a person whom the connection does not admit. `known` is the user the person is already.
pub fn check_admission(
    connection: &Connection,
    person: &Person,
    known: Option<&User>,
) -> Result<(), IdentityError> {
    let Some(admission) = &connection.admission else {
        return Ok(());
    };
    let Admission {
        domains,
        groups,
        users,
        known_users_only,
    } = admission;
    let mail = person.mail.as_deref().unwrap_or_default();
    if !domains.is_empty() && !domains.iter().any(|domain| is_in_domain(mail, domain)) {
        return Err(refused(
            "Your mail address is not in a domain that may log in here. Ask an administrator.",
        ));
    }
    let own = person.groups.as_deref().unwrap_or_default();
    if !groups.is_empty() && !groups.iter().any(|group| own.contains(group)) {
        return Err(refused(
            "You are in none of the groups that may log in here. Ask an administrator.",
        ));
    }
    if !users.is_empty() {
        let name = match known {
            Some(user) => folded_login_name(&user.login_name),
            None => folded_login_name(&login_name(person)?),
        };
        if !users.iter().any(|user| folded_login_name(user) == name) {
            return Err(refused(
                "You are not among those who may log in here. Ask an administrator.",
            ));
        }
    }
    if *known_users_only && known.is_none() {
        return Err(refused(
            "There is no user for you here yet. Ask an administrator to make one.",
        ));
    }
    Ok(())
}

/// Refuses a user whom the connection does not admit any more, by what its provider says without a login. Of what the provider
/// does not say then it is not known whether it has changed.
pub fn check_still_admitted(
    connection: &Connection,
    person: &Person,
    says_mail: bool,
    user: &User,
) -> Result<(), IdentityError> {
    let mut judged = connection.clone();
    if let Some(admission) = &mut judged.admission {
        if !says_mail {
            admission.domains.clear();
        }
        if person.groups.is_none() {
            admission.groups.clear();
        }
    }
    check_admission(&judged, person, Some(user))
}

/// Says whether a person is the existing user who has this login name: the connection answers for the domain of the address.
pub fn may_link(connection: &Connection, person: &Person) -> bool {
    let mail = person.mail.as_deref().unwrap_or_default();
    connection
        .domains
        .iter()
        .any(|domain| is_in_domain(mail, domain))
}

/// Says whether a mail address is in a domain, and not in one below it.
pub fn is_in_domain(mail: &str, domain: &str) -> bool {
    mail.rsplit_once('@')
        .is_some_and(|(_, of_mail)| of_mail.eq_ignore_ascii_case(domain))
}

/// Returns a provider's text without what would break a line or a client's JSON.
pub fn clean_text(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() && !"\"\\".contains(*c))
        .take(100)
        .collect()
}

/// Refuses a person, in words for the page that he or she sees.
pub fn refused(words: &str) -> IdentityError {
    IdentityError::LoginRefused(words.to_owned())
}

#[cfg(test)]
mod tests;
