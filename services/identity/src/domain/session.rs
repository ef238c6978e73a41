//! Sessions of people in browsers, and the links that open them: how long they last, and what they may say.

use bowline_proto::{
    identity::v1::{BrowserDescription, Invitation, Role, Session, User},
    time::to_timestamp,
};
use chrono::{DateTime, TimeDelta, Utc};

use super::{check_text, user::check_user};
use crate::error::IdentityError;

/// How long a session lasts at most.
pub const LIFETIME: TimeDelta = TimeDelta::hours(12);
/// How long a session lasts unused.
pub const LONGEST_PAUSE: TimeDelta = TimeDelta::hours(2);
/// How exactly the last use is known: each use would be a write.
pub const USE_INTERVAL: TimeDelta = TimeDelta::minutes(1);
/// The most sessions of a user; the oldest gives way.
pub const MOST_OF_USER: i64 = 20;
/// The most links of a tailnet that wait to be used.
pub const MOST_INVITATIONS: i64 = 1000;
/// How long an invitation works unless it says otherwise, and at most.
const USUAL_INVITATION: TimeDelta = TimeDelta::days(7);
const LONGEST_INVITATION: TimeDelta = TimeDelta::days(30);

/// Says whether a session works now.
pub fn is_live(last_used_at: DateTime<Utc>, expires_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now < expires_at && now < last_used_at + LONGEST_PAUSE
}

/// Fills in when a session began and ends, and what its browser says, cut to a length that fits.
pub fn begin_session(session: &mut Session, browser: &BrowserDescription, now: DateTime<Utc>) {
    let clean = |text: &str| {
        text.chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect::<String>()
    };
    session.source_address = clean(&browser.source_address);
    session.user_agent = clean(&browser.user_agent);
    session.created_at = Some(to_timestamp(now));
    session.last_used_at = session.created_at;
    session.expires_at = Some(to_timestamp(now + LIFETIME));
}

/// Returns a session's user as the session may act.
pub fn acting_user(session: &Session, mut user: User) -> User {
    if session.limited {
        user.set_role(Role::Member);
    }
    user
}

/// Checks whom an invitation is for, and returns how long it works.
pub fn check_invitation(
    invitation: &Invitation,
    lifetime: Option<TimeDelta>,
) -> Result<TimeDelta, IdentityError> {
    let Invitation {
        login_name,
        display_name,
        role,
        ..
    } = invitation;
    check_user(&User {
        login_name: login_name.clone(),
        display_name: display_name.clone(),
        role: *role,
        ..User::default()
    })?;
    if invitation.role() == Role::Owner {
        return Err(IdentityError::invalid(
            "role",
            "is owner: nobody becomes the owner by a link",
        ));
    }
    let lifetime = lifetime.unwrap_or(USUAL_INVITATION);
    if lifetime < TimeDelta::minutes(1) || lifetime > LONGEST_INVITATION {
        return Err(IdentityError::invalid(
            "lifetime",
            "is between one minute and 30 days",
        ));
    }
    Ok(lifetime)
}

/// Returns what a person calls a passkey; one without a name gets a usual one.
pub fn passkey_name(name: &str) -> Result<String, IdentityError> {
    let name = name.trim();
    check_text("name", name, 100)?;
    Ok(if name.is_empty() { "Passkey" } else { name }.to_owned())
}

#[cfg(test)]
mod tests;
