//! What is seen, compared with the model, and with what was seen before.

use std::collections::{BTreeMap, BTreeSet};

use bowline_proto::key_registry::v1::Node;

use crate::{
    gateway_copy::GatewayCopy,
    model::{KeyModel, ModelNode},
    node_calls::{attribute, chosen_name},
    observed::ObservedTailnet,
    tailnet::{TestedTailnet, tag_name, to_timestamp},
};

/// Compares what the registry says with a model, and lets the model learn the ids.
///
/// # Errors
///
/// What differs.
pub fn compare_registry(
    model: &mut KeyModel,
    seen: &ObservedTailnet,
    tailnet: &TestedTailnet,
) -> Result<(), String> {
    let (now, is_locked) = (model.now, model.is_locked());
    if seen.nodes.len() != model.nodes().len() {
        let keys: Vec<_> = model.nodes().iter().map(|node| node.key).collect();
        return Err(format!(
            "there are {} nodes; expected are those with the keys {keys:?}: {:?}",
            seen.nodes.len(),
            seen.nodes
        ));
    }
    for expected in model.nodes_mut() {
        let key = tailnet.node_key(expected.key);
        let is_it = |node: &Node| node.node_key == key;
        let found = seen
            .nodes
            .iter()
            .find(|one| one.node.as_ref().is_some_and(is_it));
        let Some((node, soft)) =
            found.and_then(|one| Some((one.node.as_ref()?, one.soft.as_ref())))
        else {
            return Err(format!("no node has the key {}", expected.key));
        };
        if *expected.id.get_or_insert(node.id) != node.id {
            return Err(format!("{expected:?} is the node {} now", node.id));
        }
        // What time ends is marked by a sweep, soon.
        expected.expired |= node.expired && expected.is_due(now);
        let is_online = soft.is_some_and(|soft| soft.online);
        let wanted = Node {
            awaits_signature: is_locked && !expected.signed,
            ..expected_node(node, expected, tailnet)
        };
        if wanted != *node || is_online != expected.online {
            let differing = differing_lines(&wanted, node);
            let online = (expected.online, is_online);
            return Err(format!(
                "node {}: {differing:?}, online {online:?}",
                node.id
            ));
        }
    }
    for (number, expected) in model.keys() {
        let id = tailnet.key_id(*number);
        let key = seen.keys.iter().find(|key| key.id == id);
        let found = key.map(|key| (key.uses, key.revoked_at.is_some()));
        if found != Some((expected.uses, expected.revoked)) {
            return Err(format!(
                "pre-auth key {number} has uses and end {found:?}; expected {expected:?}"
            ));
        }
    }
    Ok(())
}

/// Returns the fields that differ, as expected and as found.
fn differing_lines(expected: &Node, found: &Node) -> Vec<(String, String)> {
    let (expected, found) = (format!("{expected:#?}"), format!("{found:#?}"));
    let lines = expected.lines().zip(found.lines());
    let differing = lines.filter(|(expected, found)| expected != found);
    differing
        .map(|(expected, found)| (expected.trim().to_owned(), found.trim().to_owned()))
        .collect()
}

/// Returns the node as it has to be, with the facts that no model is of.
fn expected_node(seen: &Node, expected: &ModelNode, tailnet: &TestedTailnet) -> Node {
    let owner = expected.owner;
    let is_name_chosen = expected.chosen_name.is_some();
    Node {
        tailnet_id: tailnet.id,
        machine_key: tailnet.machine_key(expected.machine),
        user_id: owner.user.map_or(0, |user| tailnet.user_id(user)),
        tags: owner.tag.map(tag_name).into_iter().collect(),
        approved: expected.approved,
        denied: expected.denied,
        disabled: expected.disabled,
        ephemeral: expected.ephemeral,
        expired: expected.expired,
        key_expiry: expected.expiry.map(to_timestamp),
        key_never_expires: expected.never_expires,
        attributes: expected.attribute.into_iter().map(attribute).collect(),
        name_chosen: is_name_chosen,
        name: expected
            .chosen_name
            .map_or_else(|| seen.name.clone(), chosen_name),
        ..seen.clone()
    }
}

/// What was seen of the nodes of a tailnet.
#[derive(Clone, Debug, Default)]
pub struct TailnetLedger(BTreeMap<u64, SeenNode>);

#[derive(Clone, Debug)]
struct SeenNode {
    addresses: [String; 2],
    name: String,
    is_gone: bool,
}

impl TailnetLedger {
    /// Returns the ids of all nodes that there ever were.
    pub fn node_ids(&self) -> impl Iterator<Item = u64> {
        self.0.keys().copied()
    }

    /// Takes in what there is now.
    ///
    /// # Errors
    ///
    /// Which rule is broken: addresses and names are of one node each and change by nobody's wish but an administrator's,
    /// and ids never come back.
    pub fn note_nodes(&mut self, seen: &ObservedTailnet) -> Result<(), String> {
        let nodes: Vec<_> = seen
            .nodes
            .iter()
            .filter_map(|one| one.node.as_ref())
            .collect();
        let mut taken = BTreeSet::new();
        for node in &nodes {
            for unique in [&node.ipv4, &node.ipv6, &node.name] {
                if unique.is_empty() || !taken.insert(unique.clone()) {
                    return Err(format!("two nodes have {unique:?}"));
                }
            }
            let addresses = [node.ipv4.clone(), node.ipv6.clone()];
            let before = self.0.entry(node.id).or_insert_with(|| SeenNode {
                addresses: addresses.clone(),
                name: node.name.clone(),
                is_gone: false,
            });
            if before.is_gone {
                return Err(format!(
                    "the id {} of a node that is gone is given again",
                    node.id
                ));
            }
            if before.addresses != addresses {
                return Err(format!(
                    "the addresses of node {} were {:?}, and are {addresses:?}",
                    node.id, before.addresses
                ));
            }
            if before.name != node.name && !node.name_chosen {
                return Err(format!(
                    "node {} was called {}, and is called {}",
                    node.id, before.name, node.name
                ));
            }
            before.name.clone_from(&node.name);
        }
        let ids: BTreeSet<_> = nodes.iter().map(|node| node.id).collect();
        for (id, before) in &mut self.0 {
            before.is_gone = !ids.contains(id);
        }
        Ok(())
    }
}

/// Checks that a gateway offers no node to peers that may not take part, nor another key than it has now.
///
/// # Errors
///
/// Which node is offered.
pub fn check_offered(
    copy: &GatewayCopy,
    model: &KeyModel,
    tailnet: &TestedTailnet,
) -> Result<(), String> {
    for (id, key) in copy.offered_nodes() {
        let node = model.nodes().iter().find(|node| node.id == Some(id));
        let Some(node) = node else {
            return Err(format!(
                "a gateway offers peers the node {id}, which is gone"
            ));
        };
        if !model.may_take_part(node) {
            return Err(format!(
                "a gateway offers peers a node that may not take part: {node:?}"
            ));
        }
        if tailnet.node_key(node.key) != key {
            return Err(format!(
                "a gateway offers peers the key {key:?} of {node:?}"
            ));
        }
    }
    Ok(())
}

/// Compares all that a gateway tells the clients of a tailnet with a model.
///
/// # Errors
///
/// What differs.
pub fn compare_told(
    copy: &GatewayCopy,
    model: &KeyModel,
    tailnet: &TestedTailnet,
) -> Result<(), String> {
    check_offered(copy, model, tailnet)?;
    if copy.count_nodes() != model.nodes().len() {
        return Err(format!(
            "a gateway has {} nodes of {}",
            copy.count_nodes(),
            model.nodes().len()
        ));
    }
    let offered: BTreeSet<_> = model
        .nodes()
        .iter()
        .filter(|node| model.may_take_part(node))
        .map(|node| tailnet.node_key(node.key))
        .collect();
    for node in model.nodes() {
        let mut expected = offered.clone();
        if !expected.remove(&tailnet.node_key(node.key)) {
            // It is told of itself alone.
            expected.clear();
        }
        let told = copy.peers_told(node.id.unwrap_or_default(), model.now);
        if told.as_ref() != Some(&expected) {
            let counted = told.map(|told| told.len());
            return Err(format!(
                "{node:?} is told of {counted:?} peers, and there are {}",
                expected.len()
            ));
        }
    }
    Ok(())
}
