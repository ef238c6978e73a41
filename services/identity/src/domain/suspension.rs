//! Who has suspended a user. A user is suspended while anybody says so, and each takes back only what is its own.

use bowline_proto::identity::v1::{SuspensionSource, User};

/// Who has suspended a user; nobody, by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Suspension {
    /// An administrator has.
    pub by_administrator: bool,
    /// The provider that keeps the user by SCIM says that the user is not active.
    pub by_scim: bool,
    /// Nobody has approved the user yet.
    pub awaits_approval: bool,
    /// The connection whose provider's word at a login has; zero: none.
    pub by_connection_id: u64,
}

impl Suspension {
    /// Returns who has suspended a user. An earlier release says only that somebody has: that was an administrator.
    pub fn of(user: &User) -> Self {
        if !user.suspended {
            return Self::default();
        }
        let named = Self {
            by_administrator: false,
            by_scim: user.suspended_by().any(|by| by == SuspensionSource::Scim),
            awaits_approval: user.awaits_approval,
            by_connection_id: user.suspended_by_connection_id,
        };
        let is_named = |wanted| user.suspended_by().any(|by| by == wanted);
        Self {
            by_administrator: named == Self::default() || is_named(SuspensionSource::Administrator),
            ..named
        }
    }

    /// Lets a user be suspended so.
    pub fn apply_to(self, user: &mut User) {
        user.suspended = self != Self::default();
        user.awaits_approval = self.awaits_approval;
        user.suspended_by_connection_id = self.by_connection_id;
        let sources = [
            (self.by_administrator, SuspensionSource::Administrator),
            (self.by_scim, SuspensionSource::Scim),
        ];
        let sources = sources.into_iter().filter(|(is_one, _)| *is_one);
        user.suspended_by = sources.map(|(_, source)| source.into()).collect();
    }

    /// Returns the words for who it is, as audit trails show them.
    pub fn source_names(self) -> Vec<&'static str> {
        let words = [
            (self.by_administrator, "administrator"),
            (self.by_scim, "scim"),
            (self.awaits_approval, "approval"),
            (self.by_connection_id != 0, "provider"),
        ];
        let words = words.into_iter().filter(|(is_one, _)| *is_one);
        words.map(|(_, word)| word).collect()
    }
}

#[cfg(test)]
mod tests;
