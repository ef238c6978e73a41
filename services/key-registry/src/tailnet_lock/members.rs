//! Who asks: a node in good standing, at its pace, and for some things one of an administrator.

use std::time::Duration;

use bowline_db::Mutation;
use bowline_ids::TailnetId;
use bowline_proto::{
    identity::v1::Role,
    key_registry::v1::{LockMember, Node},
};
use sqlx::AnyConnection;

use super::TailnetLocks;
use crate::{
    domain::pace::{self, Pace},
    error::RegistryError,
    fields::{read_tailnet_id, require_field},
    store::{barred_users, nodes, paces},
};

/// The node that asks, and its tailnet.
#[derive(Clone, Debug)]
pub(super) struct AskingNode {
    pub(super) node: Node,
    pub(super) tailnet: TailnetId,
}

impl TailnetLocks {
    /// Finds the node that asks.
    pub(super) async fn find_member(
        &self,
        asked: Option<LockMember>,
    ) -> Result<AskingNode, RegistryError> {
        let asked = require_field("member", asked)?;
        let mut read = self.log.database().begin_read().await?;
        let node = read_member(&mut read, &asked).await?;
        let tailnet = read_tailnet_id(node.tailnet_id)?;
        Ok(AskingNode { node, tailnet })
    }

    /// Refuses nodes of others than owners and administrators.
    pub(super) async fn require_administrator(
        &self,
        member: &AskingNode,
    ) -> Result<(), RegistryError> {
        let refused = || {
            let text = "tailnet lock is switched on and off by devices of owners and administrators alone: use one of theirs, or let \
                        an owner give this device's user the role (bowline users set-role)";
            Err(RegistryError::Refused(text.to_owned()))
        };
        let Some(user) = member.node.owning_user() else {
            return refused();
        };
        let found = self
            .services
            .resolve_user(member.tailnet.get(), user)
            .await?;
        match found {
            Some(found)
                if !found.user.suspended
                    && matches!(found.user.role(), Role::Owner | Role::Admin) =>
            {
                Ok(())
            }
            _ => refused(),
        }
    }
}

impl AskingNode {
    /// Looks again, in the transaction, whether the node is in good standing: that may have changed since it was found.
    pub(super) async fn check_again(&self, mutation: &mut Mutation) -> Result<(), RegistryError> {
        let asked = LockMember {
            machine_key: self.node.machine_key.clone(),
            node_key: self.node.node_key.clone(),
        };
        let node = read_member(mutation.connection(), &asked).await?;
        match node.tailnet_id == self.tailnet.get() && node.user_id == self.node.user_id {
            true => Ok(()),
            false => Err(RegistryError::NotFound("node of this machine")),
        }
    }

    /// Counts one more thing that the node does, or refuses it.
    pub(super) async fn take_turn(
        &self,
        mutation: &mut Mutation,
        what: &'static str,
        pace: Pace,
    ) -> Result<(), RegistryError> {
        let (tailnet, now) = (mutation.tailnet().get(), mutation.now());
        let maker = format!("{what}:{}", self.node.id);
        let rested_at = paces::rested_at(mutation.connection(), tailnet, &maker).await?;
        let rested_at = pace::next_rest(pace, rested_at.unwrap_or(now), now);
        let rested_at = rested_at.map_err(|due| RegistryError::TooOften {
            text: format!("this device has sent many {what} in a row: try again in a few seconds"),
            wait: (due - now).to_std().unwrap_or(Duration::ZERO),
        })?;
        paces::put_rest(mutation.connection(), tailnet, &maker, rested_at, now).await?;
        Ok(())
    }
}

async fn read_member(on: &mut AnyConnection, asked: &LockMember) -> Result<Node, RegistryError> {
    let found = nodes::by_key(&mut *on, &asked.node_key).await?;
    let node = found.filter(|node| node.machine_key == asked.machine_key);
    let node = node.ok_or(RegistryError::NotFound("node of this machine"))?;
    let is_barred = node.goes_with_user() && barred_users::is_barred(&mut *on, &node).await?;
    if !node.is_authorized() || node.expired || is_barred {
        let text = "this device may not take part in the network at the moment: it waits for approval, is disabled, has to log in again, or \
                    its user is suspended (bowline nodes show says which)";
        return Err(RegistryError::Refused(text.to_owned()));
    }
    Ok(node)
}
