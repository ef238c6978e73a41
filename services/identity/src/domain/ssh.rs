//! SSH connections that wait until a person has proven anew who he or she is.

use bowline_proto::identity::v1::{
    Condition, ConditionScope, Device, Login, LoginPurpose, SshConnection, Tailnet, User,
};
use chrono::{DateTime, TimeDelta, Utc};
use prost_types::Duration;
use sha2::{Digest as _, Sha256};

use super::{check_text, login};
use crate::error::IdentityError;

/// The longest time that a check holds (policy section 14.2).
pub const LONGEST_PERIOD: TimeDelta = TimeDelta::days(7);

/// How long ago, in seconds, the login at the provider may be that counts as a check.
const FRESH: i64 = 300;

/// Says whether a check still holds.
pub fn is_checked(
    checked_at: Option<DateTime<Utc>>,
    period_seconds: u64,
    now: DateTime<Utc>,
) -> bool {
    let period = i64::try_from(period_seconds).unwrap_or(i64::MAX);
    let period =
        TimeDelta::try_seconds(period).map_or(LONGEST_PERIOD, |period| period.min(LONGEST_PERIOD));
    checked_at.is_some_and(|at| now - at < period)
}

/// Returns a new login that an SSH connection waits for.
pub fn new_login(
    id: String,
    ssh: SshConnection,
    source_machine_key: Vec<u8>,
    source_address: String,
    tailnet: &Tailnet,
    now: DateTime<Utc>,
) -> Result<Login, IdentityError> {
    let device = Device {
        hostname: ssh.source_name.clone(),
        source_address,
        required_tailnet: tailnet.name.clone(),
        ..Device::default()
    };
    for text in [&ssh.source_name, &ssh.destination_name, &ssh.local_user] {
        check_text("ssh", text, 300)?;
    }
    let mut made = login::new(id, source_machine_key, hash_target(&ssh), device, now)?;
    made.set_purpose(LoginPurpose::SshCheck);
    made.ssh = Some(ssh);
    Ok(made)
}

/// Returns what stands for the account that is connected to: two connections to it wait for one login.
fn hash_target(ssh: &SshConnection) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(b"bowline ssh check");
    hash.update(ssh.source_node_id.to_be_bytes());
    hash.update(ssh.destination_node_id.to_be_bytes());
    hash.update(ssh.local_user.as_bytes());
    hash.finalize().to_vec()
}

/// Returns why a person who has logged in can not be who an SSH connection waits for; in words for the page.
pub fn find_mismatch(login: &Login, user: &User) -> Option<&'static str> {
    let ssh = login.ssh.as_ref()?;
    let is_owner = (ssh.tailnet_id, ssh.user_id) == (user.tailnet_id, user.id);
    (!is_owner).then_some(
        "The device that connects belongs to somebody else. Only its owner can answer for it.",
    )
}

/// Returns what every login of this kind must be like, beside the conditions of the tailnet: it is a fresh one.
pub fn own_condition(login: &Login) -> Option<Condition> {
    login.ssh.as_ref().map(|ssh| Condition {
        tailnet_id: ssh.tailnet_id,
        scope: ConditionScope::Everyone.into(),
        max_age: Some(Duration {
            seconds: FRESH,
            nanos: 0,
        }),
        ..Condition::default()
    })
}

#[cfg(test)]
mod tests;
