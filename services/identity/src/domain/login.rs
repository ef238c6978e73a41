//! The life of a login in flight. It is pending at first, and becomes approved, denied or expired; after that it does not
//! change.

use bowline_proto::{
    identity::v1::{BrowserDescription, Device, Login, LoginPurpose, LoginState},
    time::to_timestamp,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::check_text;
use crate::error::IdentityError;

pub mod limits;

/// How long a login is pending before it expires.
pub const LIFETIME: TimeDelta = TimeDelta::minutes(15);

/// Returns a new login of a device.
pub fn new(
    id: String,
    machine_key: Vec<u8>,
    node_key: Vec<u8>,
    device: Device,
    now: DateTime<Utc>,
) -> Result<Login, IdentityError> {
    if machine_key.len() != 32 || node_key.len() != 32 {
        return Err(IdentityError::invalid(
            "machine_key, node_key",
            "are 32 bytes each",
        ));
    }
    let described = [
        &device.hostname,
        &device.os,
        &device.client_version,
        &device.source_address,
    ];
    let lists = [&device.requested_tags, &device.advertised_routes];
    let is_long =
        |list: &&Vec<String>| list.len() > 1000 || list.iter().any(|text| text.len() > 1000);
    if described.iter().any(|text| text.len() > 1000) || lists.iter().any(is_long) {
        return Err(IdentityError::invalid(
            "device",
            "describes itself at too great length",
        ));
    }
    Ok(Login {
        id,
        state: LoginState::Pending.into(),
        machine_key,
        node_key,
        device: Some(device),
        created_at: Some(to_timestamp(now)),
        expires_at: Some(to_timestamp(now + LIFETIME)),
        ..Login::default()
    })
}

/// Returns a new login of a browser that wants a session.
pub fn new_of_browser(
    id: String,
    browser: Vec<u8>,
    description: BrowserDescription,
    now: DateTime<Utc>,
) -> Result<Login, IdentityError> {
    let device = Device {
        source_address: description.source_address,
        ..Device::default()
    };
    let mut made = new(id, browser.clone(), browser, device, now)?;
    made.set_purpose(LoginPurpose::Session);
    Ok(made)
}

/// Returns the address that a login's device came from; empty where that is not known.
pub fn source_address(login: &Login) -> &str {
    login
        .device
        .as_ref()
        .map_or("", |device| &device.source_address)
}

/// Says whether a login lets a device in, and no session or connection.
pub fn is_of_device(login: &Login) -> bool {
    login.purpose() == LoginPurpose::Unspecified
}

/// Says whether a login of this purpose opens a session.
pub fn opens_session(purpose: LoginPurpose) -> bool {
    matches!(purpose, LoginPurpose::Session | LoginPurpose::Program)
}

/// Returns the name of the only tailnet that a login's device wants to join; empty for any.
pub fn wanted_tailnet(login: &Login) -> &str {
    login
        .device
        .as_ref()
        .map_or("", |device| &device.required_tailnet)
}

/// Returns what the audit trail says of a login. It names the device and its keys, because the login itself is deleted an hour
/// after its time is over.
pub fn describe_login(login: &Login) -> Value {
    if let Some(ssh) = &login.ssh {
        return json!({
            "source": ssh.source_name,
            "source_node": ssh.source_node_id,
            "destination": ssh.destination_name,
            "destination_node": ssh.destination_node_id,
            "local_user": ssh.local_user,
        });
    }
    if let Some(program) = &login.program {
        return json!({
            "program": program.name,
            "user_agent": program.user_agent,
            "source": source_address(login),
        });
    }
    // A login that an earlier release started may have no device.
    let device = login.device.clone().unwrap_or_default();
    let key = |key: &[u8]| {
        key.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    json!({
        "machine_key": format!("mkey:{}", key(&login.machine_key)),
        "node_key": format!("nodekey:{}", key(&login.node_key)),
        "hostname": device.hostname,
        "os": device.os,
        "client_version": device.client_version,
        "source": device.source_address,
    })
}

/// Returns the login as it is at `now`: a stored one that is pending has expired when its time is over.
pub fn with_state_at(mut login: Login, now: DateTime<Utc>) -> Login {
    let over = login
        .expires_at
        .is_none_or(|end| end.seconds <= now.timestamp());
    if login.state() == LoginState::Pending && over {
        login.set_state(LoginState::Expired);
    }
    login
}

/// Approves a login for a user. Once more for the same user changes nothing.
pub fn approve_login(
    login: &mut Login,
    tailnet_id: u64,
    user_id: u64,
) -> Result<(), IdentityError> {
    match login.state() {
        LoginState::Approved if (login.tailnet_id, login.user_id) == (tailnet_id, user_id) => {}
        LoginState::Pending => {
            login.set_state(LoginState::Approved);
            (login.tailnet_id, login.user_id) = (tailnet_id, user_id);
        }
        _ => return Err(refuse_decision(login.state())),
    }
    Ok(())
}

/// Denies a login. Once more changes nothing.
pub fn deny_login(login: &mut Login, reason: &str) -> Result<(), IdentityError> {
    check_text("reason", reason, 500)?;
    match login.state() {
        LoginState::Denied => {}
        LoginState::Pending => {
            login.set_state(LoginState::Denied);
            login.denial = if reason.is_empty() {
                "an administrator denied this device".to_owned()
            } else {
                reason.to_owned()
            };
        }
        _ => return Err(refuse_decision(login.state())),
    }
    Ok(())
}

fn refuse_decision(state: LoginState) -> IdentityError {
    IdentityError::Refused(match state {
        LoginState::Approved => "the login was approved already: expire or delete its node instead",
        LoginState::Denied => "the login was denied already: start a new one on the device",
        LoginState::Expired => "the login has expired: start a new one on the device",
        LoginState::Pending | LoginState::Unspecified => "the login is in no state to be decided",
    })
}

#[cfg(test)]
mod tests;
