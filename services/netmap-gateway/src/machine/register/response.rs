//! What a client is answered whose registration has succeeded, or has no account.

use axum::http::StatusCode;
use bowline_control_wire::{Login, RegisterResponse, User, UserProfile, plain_text};
use bowline_ids::{NodeId, TailnetId, UserId};
use bowline_netmap::{View, owner_id, user_profile};
use bowline_proto::key_registry::v1::{Node, Registered};

use crate::{gateway::Gateway, machine::RequestFailure};

/// The node that the registry has registered, with the ids that name it here.
pub(super) struct RegisteredNode<'r> {
    pub(super) tailnet: TailnetId,
    pub(super) id: NodeId,
    pub(super) node: &'r Node,
}

impl<'r> RegisteredNode<'r> {
    /// Reads what the registry has registered.
    ///
    /// # Errors
    ///
    /// 502 when the node or one of its ids is missing.
    pub(super) fn new(registered: &'r Registered) -> Result<Self, RequestFailure> {
        let bad_gateway = || {
            let text = "the registry named no node";
            RequestFailure::new(StatusCode::BAD_GATEWAY, text)
        };
        let node = registered.node.as_ref().ok_or_else(bad_gateway)?;
        Ok(Self {
            tailnet: TailnetId::try_from(node.tailnet_id).map_err(|_| bad_gateway())?,
            id: NodeId::try_from(node.id).map_err(|_| bad_gateway())?,
            node,
        })
    }
}

/// Returns the answer to a client whose node is registered.
pub(super) fn accepted_response(
    gateway: &Gateway,
    tailnet: TailnetId,
    node: &Node,
    registered: &Registered,
) -> RegisterResponse {
    // The client's map request follows at once: begin to follow its tailnet now.
    let held = gateway.hub.tailnet(tailnet);
    gateway.hub.hint_registry(tailnet, registered.revision);
    let view = held.history.view();
    let UserProfile {
        id,
        login_name,
        display_name,
        ..
    } = account_of(&view, node, registered);
    RegisterResponse {
        user: User {
            id,
            display_name: display_name.clone(),
        },
        login: Login {
            id,
            provider: "bowline".to_owned(),
            login_name,
            display_name,
        },
        machine_authorized: node.is_authorized(),
        ..RegisterResponse::default()
    }
}

/// Returns the account that the client shows as the node's owner: as the registry says, or as the view has it when the
/// registry could not ask identity.
fn account_of(view: &View, node: &Node, registered: &Registered) -> UserProfile {
    let known = user_profile(view, owner_id(node));
    if registered.login_name.is_empty() {
        return known;
    }
    let login_name = plain_text(&registered.login_name);
    UserProfile {
        display_name: match &*registered.display_name {
            "" => login_name.clone(),
            shown => plain_text(shown),
        },
        login_name,
        ..known
    }
}

/// Returns an answer without an account. Clients want positive numbers, so it has those of tagged devices.
pub(super) fn empty_response() -> RegisterResponse {
    RegisterResponse {
        user: User {
            id: UserId::TAGGED_DEVICES.get(),
            ..User::default()
        },
        login: Login {
            id: UserId::TAGGED_DEVICES.get(),
            provider: "bowline".to_owned(),
            ..Login::default()
        },
        ..RegisterResponse::default()
    }
}

#[cfg(test)]
mod tests;
