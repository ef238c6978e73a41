//! What administrators say of a node beside its key: whether it is let in, and when its keys end.

use std::collections::BTreeMap;

use bowline_db::{Mutation, take_kept_answer};
use bowline_ids::TailnetId;
use bowline_proto::key_registry::v1::{
    ApproveNodeResponse, DenyNodeResponse, DisableNodeResponse, EnableNodeResponse,
    ExpireNodesOfPreAuthKeyResponse, ExpiredNode, Node, SetNodeExpiryResponse,
};
use bowline_service_kit::Caller;
use serde_json::json;

use crate::{
    actors::pre_auth_key_actor,
    domain::{
        admission, difference,
        key::{self, WantedExpiry},
    },
    error::RegistryError,
    node_changes,
    nodes::{NodeTarget, Nodes},
    store::{gateways::OwnerLog, node_keys, nodes, pre_auth_keys},
};

/// From this schema level on every process keeps and heeds what is written here; one of an earlier release would show a
/// disabled node to its peers.
const NODE_STATES_LEVEL: u32 = 2;
/// How many keys end with one call, and in one mutation.
const MOST_KEYS: usize = 500;
const MOST_KEYS_AT_ONCE: usize = 100;

/// The nodes of a pre-auth key whose keys are to end.
struct KeysToEnd {
    pre_auth_key_id: String,
    node_ids: Vec<u64>,
}

impl Nodes {
    /// Approves a node's machine.
    pub(crate) async fn approve_node(
        &self,
        target: NodeTarget,
    ) -> Result<ApproveNodeResponse, RegistryError> {
        let change = |node: &mut Node, _| {
            admission::approve(node);
            Ok(())
        };
        let answer = |node| ApproveNodeResponse { node: Some(node) };
        let changing = self.change_node(target, "node.approve", json!({}), change, answer);
        Ok(changing.await?.0)
    }

    /// Turns away a machine that waits for approval, and says which gateways have applied that.
    pub(crate) async fn deny_node(
        &self,
        target: NodeTarget,
    ) -> Result<DenyNodeResponse, RegistryError> {
        self.require_node_states()?;
        let tailnet = target.tailnet;
        let answer = |node| DenyNodeResponse {
            node: Some(node),
            revocation: None,
        };
        let deny = admission::deny;
        let changing = self.change_node(target, "node.deny", json!({}), deny, answer);
        let (answer, revision) = changing.await?;
        let revocation = self.await_gateways(OwnerLog::Registry, tailnet, revision);
        Ok(DenyNodeResponse {
            revocation: Some(revocation.await?),
            ..answer
        })
    }

    /// Keeps a node out until it is enabled, and says which gateways have applied that.
    pub(crate) async fn disable_node(
        &self,
        target: NodeTarget,
    ) -> Result<DisableNodeResponse, RegistryError> {
        self.require_node_states()?;
        let tailnet = target.tailnet;
        let change = |node: &mut Node, _| {
            node.disabled = true;
            Ok(())
        };
        let answer = |node| DisableNodeResponse {
            node: Some(node),
            revocation: None,
        };
        let changing = self.change_node(target, "node.disable", json!({}), change, answer);
        let (answer, revision) = changing.await?;
        let revocation = self.await_gateways(OwnerLog::Registry, tailnet, revision);
        Ok(DisableNodeResponse {
            revocation: Some(revocation.await?),
            ..answer
        })
    }

    /// Lets a disabled node in again.
    pub(crate) async fn enable_node(
        &self,
        target: NodeTarget,
    ) -> Result<EnableNodeResponse, RegistryError> {
        let change = |node: &mut Node, _| {
            node.disabled = false;
            Ok(())
        };
        let answer = |node| EnableNodeResponse { node: Some(node) };
        let changing = self.change_node(target, "node.enable", json!({}), change, answer);
        Ok(changing.await?.0)
    }

    /// Says when a node's key ends.
    pub(crate) async fn set_expiry(
        &self,
        target: NodeTarget,
        wanted: WantedExpiry,
    ) -> Result<SetNodeExpiryResponse, RegistryError> {
        self.require_node_states()?;
        let set = move |node: &mut Node, now| key::set_expiry(node, wanted, now);
        let answer = |node| SetNodeExpiryResponse { node: Some(node) };
        let changing = self.change_node(target, "node.set_expiry", json!({}), set, answer);
        Ok(changing.await?.0)
    }

    /// Refuses these states while a process may run that does not know them.
    fn require_node_states(&self) -> Result<(), RegistryError> {
        let level = self.log().database().require_level(NODE_STATES_LEVEL);
        level.map_err(RegistryError::refused)
    }

    /// Ends the keys of nodes that a revoked pre-auth key registered, some in one mutation, and says which gateways have
    /// applied that.
    pub(crate) async fn expire_nodes_of_key(
        &self,
        caller: Caller,
        tailnet: TailnetId,
        pre_auth_key_id: String,
    ) -> Result<ExpireNodesOfPreAuthKeyResponse, RegistryError> {
        if let Some((kept, revision)) = take_kept_answer::<ExpireNodesOfPreAuthKeyResponse>()? {
            return self.add_revocation(tailnet, kept, revision.get()).await;
        }
        let reader = self.log().database().reader();
        let found = pre_auth_keys::by_id(reader, &pre_auth_key_id).await?;
        let found = found.filter(|(key, _)| key.tailnet_id == tailnet.get());
        let (key, _) = found.ok_or(RegistryError::NotFound("pre-auth key"))?;
        if key.revoked_at.is_none() {
            let text =
                "the key is not revoked, and could make more nodes meanwhile: revoke it first";
            return Err(RegistryError::Refused(text.to_owned()));
        }
        let actor = pre_auth_key_actor(&pre_auth_key_id);
        let most = MOST_KEYS + 1;
        let found = node_keys::list_live_registered_by(reader, tailnet.get(), actor, most).await?;
        let more = found.len() > MOST_KEYS;
        let mut parts: Vec<_> = found[..found.len().min(MOST_KEYS)]
            .chunks(MOST_KEYS_AT_ONCE)
            .map(|some| KeysToEnd {
                pre_auth_key_id: pre_auth_key_id.clone(),
                node_ids: some.to_vec(),
            })
            .collect();
        // Where nothing is left to do, it was done by now: that is an answer as well.
        let last = parts.pop().unwrap_or(KeysToEnd {
            pre_auth_key_id,
            node_ids: Vec::new(),
        });
        let mut ended = BTreeMap::new();
        for part in parts {
            let ending = self
                .log()
                .mutate(tailnet, caller.to_string(), move |mutation| {
                    Box::pin(end_keys(mutation, part))
                });
            ended.extend(ending.await?.0);
        }
        let ending =
            self.log()
                .mutate_once_and_go_on(tailnet, caller.to_string(), move |mutation| {
                    Box::pin(async move {
                        ended.extend(end_keys(mutation, last).await?);
                        let nodes = ended.into_iter();
                        Ok::<_, RegistryError>(ExpireNodesOfPreAuthKeyResponse {
                            nodes: nodes.map(|(id, name)| ExpiredNode { id, name }).collect(),
                            more,
                            revocation: None,
                        })
                    })
                });
        let (answer, revision) = ending.await?;
        self.add_revocation(tailnet, answer, revision.get()).await
    }

    async fn add_revocation(
        &self,
        tailnet: TailnetId,
        answer: ExpireNodesOfPreAuthKeyResponse,
        revision: u64,
    ) -> Result<ExpireNodesOfPreAuthKeyResponse, RegistryError> {
        let revocation = self.await_gateways(OwnerLog::Registry, tailnet, revision);
        Ok(ExpireNodesOfPreAuthKeyResponse {
            revocation: Some(revocation.await?),
            ..answer
        })
    }
}

/// Ends keys of nodes that are still there; returns the names of those whose key it ended.
async fn end_keys(
    mutation: &mut Mutation,
    ending: KeysToEnd,
) -> Result<Vec<(u64, String)>, RegistryError> {
    let (mut ended, mut has_primary_ended) = (Vec::new(), false);
    let tailnet = mutation.tailnet().get();
    for id in ending.node_ids {
        let found = nodes::by_id(mutation.connection(), tailnet, id).await?;
        let Some(before) = found.filter(|node| !node.expired) else {
            continue;
        };
        let node = node_changes::end_key(mutation, before.clone()).await?;
        has_primary_ended |= !node.primary_routes.is_empty();
        let detail = json!({ "by": "administrator", "pre_auth_key": ending.pre_auth_key_id, "name": node.name });
        let detail = difference::add_changes(detail, &before, &node);
        mutation.record_audit("node.expire", node.id.to_string(), &detail);
        ended.push((node.id, node.name));
    }
    if has_primary_ended {
        node_changes::elect_primaries(mutation).await?;
    }
    Ok(ended)
}

#[cfg(test)]
mod tests;
