//! The answers to registrations.

use bowline_proto::{
    identity::v1::{Tailnet, User},
    key_registry::v1::{
        KeyExpired, Node, RefusalReason, Refused, RegisterRequest, Registered,
        register_response::Outcome,
    },
};

use super::credential::Credential;
use crate::{asked_services::AskedServices, domain::rotation::RotationRefusal};

/// Refuses a registration.
pub(super) fn refuse(reason: RefusalReason, text: impl Into<String>) -> Outcome {
    Outcome::Refused(Refused {
        reason: reason.into(),
        text: text.into(),
    })
}

/// Refuses a key that another machine has or had.
pub(super) fn refuse_foreign_key() -> Outcome {
    let text = "this node key belongs to another machine: log out and in again";
    refuse(RefusalReason::NodeKeyOfAnotherMachine, text)
}

/// Refuses credentials whose user may have no nodes.
pub(super) fn refuse_barred_user() -> Outcome {
    let text = "the user of these credentials is gone or suspended: ask an administrator";
    refuse(RefusalReason::UserSuspended, text)
}

/// Refuses a machine that an administrator has denied.
pub(super) fn refuse_denied_machine() -> Outcome {
    let text = "an administrator has denied this device: ask an administrator to approve it";
    refuse(RefusalReason::MachineDenied, text)
}

/// Refuses a key that is not to replace the one that the client names as old.
pub(super) fn refuse_rotation(refusal: RotationRefusal) -> Outcome {
    match refusal {
        RotationRefusal::AnotherMachines => refuse_foreign_key(),
        RotationRefusal::Unproven => {
            let text = "this network asks for a proof of both node keys: log out, then log in as a new device";
            refuse(RefusalReason::NodeKeyUnproven, text)
        }
    }
}

/// Answers for a key that was bound once and will be bound to nobody again.
pub(super) fn answer_retired_key(machine: &[u8], request: &RegisterRequest) -> Outcome {
    if machine == request.machine_key {
        // The machine makes a new key and comes back at once (protocol section 5.3).
        return Outcome::KeyExpired(KeyExpired { node: None });
    }
    refuse_foreign_key()
}

/// The names that a client shows with its node.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnerNames {
    user: Option<User>,
    tailnet: Option<Tailnet>,
}

impl OwnerNames {
    /// Takes the names from a credential; `None` when the node has another owner than it.
    pub(super) fn from_credential(node: &Node, credential: &Credential) -> Option<Self> {
        let user = match node.owning_user() {
            None => None,
            Some(id) => Some(credential.user.clone().filter(|user| user.id == id)?),
        };
        Some(Self {
            user,
            tailnet: Some(credential.tailnet.clone()),
        })
    }

    /// Asks identity. That it can not answer now is no reason to turn a client away: it has no names then.
    pub(super) async fn ask(services: &AskedServices, node: &Node) -> Self {
        let Some(user_id) = node.owning_user() else {
            let found = services.resolve_tailnet(node.tailnet_id).await;
            return Self {
                user: None,
                tailnet: found.ok().flatten(),
            };
        };
        match services.resolve_user(node.tailnet_id, user_id).await {
            Ok(Some(found)) => Self {
                user: Some(found.user),
                tailnet: Some(found.tailnet),
            },
            _ => Self::default(),
        }
    }
}

/// Tells a client who it is.
pub(super) fn confirm_registration(node: Node, revision: u64, names: OwnerNames) -> Outcome {
    // Without a user, or where identity could not be asked, the names are empty.
    let user = names.user.unwrap_or_default();
    Outcome::Registered(Registered {
        revision,
        node: Some(node),
        login_name: user.login_name,
        display_name: user.display_name,
        profile_pic_url: user.profile_pic_url,
        tailnet_name: names.tailnet.unwrap_or_default().name,
    })
}
