//! Questions about nodes to the policy-compiler.

use crate::{identity::v1::User, policy::v1::JudgeNodeRequest};

impl JudgeNodeRequest {
    /// Asks about a node of this user. A question without a user is about a node that only its tags speak for.
    #[must_use]
    pub fn for_user(self, user: User) -> Self {
        Self {
            user_id: user.id,
            login_name: user.login_name,
            groups: user.groups,
            role: user.role,
            ..self
        }
    }
}
