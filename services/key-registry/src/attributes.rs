//! Custom attributes of nodes, which postures ask about: set by administrators and, where the policy allows it, by nodes;
//! ended by time.
//!
//! They stand in the node, so that followers hear of them with it. An attribute has one type in a tailnet: the one that the
//! policy fixes, or else the one that it has at other nodes.

use std::{collections::BTreeMap, time::Duration};

use bowline_db::{ChangeLog, Mutation, from_micros, to_micros};
use bowline_ids::TailnetId;
use bowline_proto::{
    key_registry::v1::{Node, NodeAttributes, SetNodeAttributesResponse},
    policy::v1::AttributeConfig,
};
use bowline_service_kit::Caller;
use serde_json::json;

use crate::{
    actors::{REGISTRY_ACTOR, machine_actor},
    domain::{
        attributes::{self, AttributeChanges, AttributeKindName, AttributeRefusal},
        difference,
        pace::{self, CHANGES},
        standing,
    },
    error::RegistryError,
    fields::read_tailnet_id,
    node_changes,
    nodes::{Nodes, is_within_reach, within_reach},
    own_changes,
    store::{
        adoptions::{self, AdoptionRow},
        barred_users, node_attributes, nodes,
    },
};

/// From this schema level on every process keeps custom attributes, and all that clients report for postures; one of an earlier
/// release would lose them with the next change of the node.
pub(crate) const POSTURE_LEVEL: u32 = 2;

/// What the policy says of attributes, by name.
type AttributeConfigs = BTreeMap<String, AttributeConfig>;

/// A node that asks to change its own attributes.
pub(crate) struct OwnAttributes {
    /// What the transport has proven.
    pub(crate) machine_key: Vec<u8>,
    pub(crate) node_key: Vec<u8>,
    pub(crate) changes: AttributeChanges,
}

impl Nodes {
    /// Changes the attributes of nodes, all or none.
    pub(crate) async fn set_attributes(
        &self,
        caller: Caller,
        tailnet: TailnetId,
        updates: BTreeMap<u64, AttributeChanges>,
    ) -> Result<SetNodeAttributesResponse, RegistryError> {
        let configs = self
            .describe_attributes(tailnet, updates.values().flat_map(AttributeChanges::names))
            .await?;
        let changing = self
            .log()
            .mutate_once(tailnet, caller.to_string(), move |mutation| {
                Box::pin(async move {
                    let mut targets = Vec::with_capacity(updates.len());
                    for (node_id, changes) in updates {
                        let on = mutation.connection();
                        let found = nodes::by_id(on, tailnet.get(), node_id).await?;
                        targets.push((within_reach(&caller, found)?, changes));
                    }
                    let mut changed = Vec::with_capacity(targets.len());
                    for (before, node) in apply_changes(mutation, targets, &configs).await? {
                        if before != node {
                            own_changes::audit_deferred_change(mutation, &before).await?;
                            node_changes::write_node(mutation, &node, None).await?;
                            audit_change(
                                mutation,
                                "node.set_attributes",
                                "administrator",
                                [&before, &node],
                            );
                        }
                        changed.push(describe_node(node));
                    }
                    Ok::<_, RegistryError>(SetNodeAttributesResponse { nodes: changed })
                })
            });
        Ok(changing.await?.0)
    }

    /// Changes a node's own attributes, all or none, where the policy leaves each to nodes.
    pub(crate) async fn set_own_attributes(&self, own: OwnAttributes) -> Result<(), RegistryError> {
        let reader = self.log().database().reader();
        let node = require_own(nodes::by_key(reader, &own.node_key).await?, &own)?;
        let tailnet = read_tailnet_id(node.tailnet_id)?;
        let configs = self
            .describe_attributes(tailnet, own.changes.names())
            .await?;
        let is_allowed = |name: &&str| {
            let config = configs.get(*name);
            config.is_some_and(|config| config.allow_set_by_node)
        };
        if let Some(name) = own.changes.names().find(|name| !is_allowed(name)) {
            return Err(AttributeRefusal::NotByNode(name.to_owned()).into());
        }
        let changing =
            self.log()
                .mutate(tailnet, machine_actor(&own.machine_key), move |mutation| {
                    Box::pin(change_own(mutation, own, configs))
                });
        changing.await?;
        Ok(())
    }

    /// Returns what postures can ask of nodes: of one, or of all that the caller may see, by name.
    pub(crate) async fn list_attributes(
        &self,
        caller: &Caller,
        tailnet: TailnetId,
        node_id: Option<u64>,
    ) -> Result<Vec<NodeAttributes>, RegistryError> {
        let reader = self.log().database().reader();
        let mut found = match node_id {
            Some(id) => {
                let node = nodes::by_id(reader, tailnet.get(), id).await?;
                vec![within_reach(caller, node)?]
            }
            None => nodes::of_tailnet(reader, tailnet.get()).await?,
        };
        found.retain(|node| is_within_reach(caller, node));
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found.into_iter().map(describe_node).collect())
    }

    /// Asks what the policy says of attributes, unless a process may run that would lose them.
    async fn describe_attributes(
        &self,
        tailnet: TailnetId,
        names: impl Iterator<Item = &str>,
    ) -> Result<AttributeConfigs, RegistryError> {
        let level = self.log().database().require_level(POSTURE_LEVEL);
        level.map_err(RegistryError::refused)?;
        let names = names.map(str::to_owned).collect();
        let configs = self.services().describe_attributes(tailnet, names).await?;
        Ok(configs
            .into_iter()
            .map(|config| (config.name.clone(), config))
            .collect())
    }
}

/// Returns what postures can ask of a node.
fn describe_node(node: Node) -> NodeAttributes {
    NodeAttributes {
        node_id: node.id,
        name: node.name,
        attributes: node.attributes,
        os: node.os,
        os_version: node.os_version,
        client_version: node.client_version,
        auto_update: node.auto_update,
        state_encrypted: node.state_encrypted,
    }
}

/// Returns the node that asks, if it is one of the machine that asks.
fn require_own(found: Option<Node>, own: &OwnAttributes) -> Result<Node, RegistryError> {
    found
        .filter(|node| node.machine_key == own.machine_key)
        .ok_or(RegistryError::NotFound("node of this machine"))
}

/// Changes a node's own attributes, as often as it may change anything of itself.
async fn change_own(
    mutation: &mut Mutation,
    own: OwnAttributes,
    configs: AttributeConfigs,
) -> Result<(), RegistryError> {
    let found = nodes::by_key(mutation.connection(), &own.node_key).await?;
    let node = require_own(found, &own)?;
    let now = mutation.now();
    let is_barred = barred_users::is_barred(mutation.connection(), &node).await?;
    if !standing::may_change_itself(&node, is_barred, now) {
        return Err(AttributeRefusal::NotInGoodStanding.into());
    }
    let targets = vec![(node, own.changes)];
    for (before, node) in apply_changes(mutation, targets, &configs).await? {
        if before == node {
            continue;
        }
        let asked = adoptions::by_node(mutation.connection(), node.id).await?;
        let mut asked = asked.unwrap_or_else(|| AdoptionRow::for_node(&node));
        let rested_at = from_micros(asked.rested_at).unwrap_or(now);
        let rested_at = pace::next_rest(CHANGES, rested_at, now);
        let rested_at = rested_at.map_err(|due| RegistryError::TooOften {
            text: "this device changes itself too often: try again in a few seconds".to_owned(),
            wait: (due - now).to_std().unwrap_or(Duration::ZERO),
        })?;
        asked.rested_at = to_micros(rested_at);
        node_changes::write_node(mutation, &node, None).await?;
        own_changes::audit_own_change(mutation, &mut asked, &before, &node);
        adoptions::put_row(mutation.connection(), &asked).await?;
    }
    Ok(())
}

/// Changes attributes of nodes, and returns each node as it was and as it is to be. What is looked up of them is written; the
/// caller writes the nodes.
async fn apply_changes(
    mutation: &mut Mutation,
    targets: Vec<(Node, AttributeChanges)>,
    configs: &AttributeConfigs,
) -> Result<Vec<(Node, Node)>, RegistryError> {
    let (tailnet, now) = (mutation.tailnet().get(), mutation.now());
    // Values that are replaced by this change hold no type: it may give all nodes that have one another.
    for (before, changes) in &targets {
        let mut left = before.clone();
        let names: Vec<_> = changes.names().collect();
        left.attributes
            .retain(|attribute| !names.contains(&attribute.name.as_str()));
        if left.attributes.len() < before.attributes.len() {
            node_attributes::put_attributes(mutation.connection(), &left).await?;
        }
    }
    let mut changed = Vec::with_capacity(targets.len());
    for (before, changes) in targets {
        for wanted in changes.set() {
            let (name, given) = (wanted.name(), wanted.kind());
            let fixed = configs.get(name).and_then(AttributeKindName::of_config);
            let (fixed, fixed_by, way_out) = match fixed {
                Some(fixed) => (fixed, "by attrConfig of the policy".to_owned(), ""),
                None => {
                    let on = mutation.connection();
                    let found = node_attributes::find_kind(on, tailnet, name).await?;
                    let Some((fixed, node)) = found else { continue };
                    let way_out = ", remove the attribute from all devices first, or fix its type under attrConfig of the policy";
                    (fixed, format!("at {node}"), way_out)
                }
            };
            if fixed != given {
                return Err(RegistryError::from(AttributeRefusal::OtherType {
                    name: name.to_owned(),
                    fixed,
                    fixed_by,
                    given,
                    way_out,
                }));
            }
        }
        let mut node = before.clone();
        changes.apply_to(&mut node, now)?;
        node_attributes::put_attributes(mutation.connection(), &node).await?;
        changed.push((before, node));
    }
    Ok(changed)
}

fn audit_change(
    mutation: &mut Mutation,
    action: &'static str,
    by: &str,
    [before, after]: [&Node; 2],
) {
    let detail = json!({ "by": by, "name": after.name });
    let detail = difference::add_changes(detail, before, after);
    mutation.record_audit(action, after.id.to_string(), &detail);
}

/// Ends the attributes of nodes of one tailnet that are due still.
pub(crate) async fn end_attributes(
    log: &ChangeLog,
    tailnet: TailnetId,
    node_ids: Vec<u64>,
) -> Result<(), RegistryError> {
    log.mutate(tailnet, REGISTRY_ACTOR, move |mutation| {
        Box::pin(async move {
            for id in node_ids {
                let found = nodes::by_id(mutation.connection(), tailnet.get(), id).await?;
                let Some(before) = found else {
                    node_attributes::delete_attributes(mutation.connection(), id).await?;
                    continue;
                };
                let mut node = before.clone();
                attributes::end_due(&mut node, mutation.now());
                node_attributes::put_attributes(mutation.connection(), &node).await?;
                if node != before {
                    own_changes::audit_deferred_change(mutation, &before).await?;
                    node_changes::write_node(mutation, &node, None).await?;
                    audit_change(mutation, "node.end_attributes", "time", [&before, &node]);
                }
            }
            Ok::<_, RegistryError>(())
        })
    })
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
