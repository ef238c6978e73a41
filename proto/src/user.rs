//! What follows from a user's own fields, for every service alike.

use crate::identity::v1::User;

impl User {
    /// Says whether the user waits for approval, and nothing else keeps the user out.
    #[must_use]
    pub fn only_awaits_approval(&self) -> bool {
        let is_kept_out = !self.suspended_by.is_empty() || self.suspended_by_connection_id != 0;
        self.awaits_approval && !is_kept_out
    }

    /// Returns the user under its number, and under each number of a user who was merged into it: what has one of those is
    /// this user's, and nodes keep theirs until the registry has moved them.
    pub fn under_each_id(self) -> impl Iterator<Item = Self> {
        let former = self.former_ids.clone();
        let bare = Self {
            former_ids: Vec::new(),
            ..self.clone()
        };
        let aliases = former
            .into_iter()
            .map(move |id| Self { id, ..bare.clone() });
        std::iter::once(self).chain(aliases)
    }
}

#[cfg(test)]
mod tests;
