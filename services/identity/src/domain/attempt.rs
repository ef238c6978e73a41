//! Attempts to log in by a provider: sent, taken, identified, decided, and each step once.

use bowline_proto::identity::v1::{LoginAttemptState, Tailnet};
use chrono::TimeDelta;

use super::person::refused;
use crate::error::IdentityError;

/// How long a browser has, from the click on a provider to the click on the device.
pub const LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// The most attempts of one login at a time: a person tries again, and other browsers open the same address.
pub const MOST_OF_LOGIN: i64 = 20;

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptStep {
    /// The browser was sent to the provider.
    Sent,
    /// The browser is back, and its code is being exchanged: whoever comes with the same state is too late.
    Taken,
    /// The provider has answered, and its answer waits for the browser that began the attempt.
    Answered,
    /// The person is known, and conditions ask for more: the browser is to be sent to the provider once more.
    NeedsMore,
    /// The person is known.
    Identified,
    /// The person has let the device in.
    Approved,
    /// The person has turned the device away.
    Denied,
}

impl AttemptStep {
    const ALL: [Self; 7] = [
        Self::Sent,
        Self::Taken,
        Self::Answered,
        Self::NeedsMore,
        Self::Identified,
        Self::Approved,
        Self::Denied,
    ];

    /// Returns the step of a number in the database.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.number() == number)
    }

    /// Returns the step's number in the database, which never changes.
    pub fn number(self) -> i64 {
        match self {
            Self::Sent => 0,
            Self::Taken => 1,
            Self::Identified => 2,
            Self::Approved => 3,
            Self::Denied => 4,
            Self::Answered => 5,
            Self::NeedsMore => 6,
        }
    }

    /// Returns the state that callers are told.
    pub fn state(self) -> LoginAttemptState {
        match self {
            Self::Sent | Self::Taken => LoginAttemptState::Sent,
            Self::Answered => LoginAttemptState::Answered,
            Self::NeedsMore => LoginAttemptState::NeedsMore,
            Self::Identified => LoginAttemptState::Identified,
            Self::Approved => LoginAttemptState::Approved,
            Self::Denied => LoginAttemptState::Denied,
        }
    }
}

/// Refuses a tailnet that is not the one the device wants.
pub fn check_wanted_tailnet(wanted: &str, tailnet: &Tailnet) -> Result<(), IdentityError> {
    if wanted.is_empty() || wanted == tailnet.name {
        return Ok(());
    }
    Err(refused(
        "The device wants to join another network. Run the command on the device again, without naming a network.",
    ))
}

#[cfg(test)]
mod tests;
