//! What is right and wrong with the policy, judged of the users and nodes that move.

use std::collections::{BTreeMap, BTreeSet};

use bowline_policy::{
    DocumentVerdict, Inventory, PolicyNode, PolicyUser, ReportedDevice, Role, check_document,
    device_attributes, tag_name,
};

use super::{MovingNode, MovingPlan};

/// Judges a document, its tests included.
pub(super) fn judge_document(text: &str, plan: &MovingPlan) -> DocumentVerdict {
    let users = plan.users.iter().map(|user| {
        let id = user.there.id.cast_unsigned();
        let member = PolicyUser::new(id, &user.user.login_name, Role::Member, &[]);
        (id, member)
    });
    let users: BTreeMap<u64, PolicyUser> = users.collect();
    let nodes = (1..)
        .zip(&plan.nodes)
        .map(|(id, node)| (id, to_judge(id, node)));
    let nodes: BTreeMap<u64, PolicyNode> = nodes.collect();
    let inventory = Inventory {
        users: &users,
        nodes: &nodes,
        groups: &BTreeSet::new(),
        in_force: None,
    };
    check_document(text, Some(inventory))
}

fn to_judge(id: u64, moving: &MovingNode) -> PolicyNode {
    let node = &moving.node;
    let routes = node.usable_routes();
    PolicyNode {
        id,
        user: match node.tags.is_empty() {
            true => moving.user_id.cast_unsigned(),
            false => 0,
        },
        tags: node.tags.iter().map(|tag| tag_name(tag)).collect(),
        ipv4: node.ipv4.parse().ok(),
        ipv6: node.ipv6.parse().ok(),
        usable_routes: routes.filter_map(|route| route.parse().ok()).collect(),
        attributes: device_attributes(ReportedDevice {
            os: &node.os,
            client_version: &node.client_version,
            ..ReportedDevice::default()
        }),
    }
}
