//! Output as gateways are sent it: in messages of bounded size, the last one marked.

use bowline_policy::{Address, Class, Output, Visible};
use bowline_proto::policy::v1::{self as proto, CompiledUpdate, Stamp, destination};
use ipnet::IpNet;

/// The most classes or source lists in one message.
const CLASSES: usize = 200;
/// The most memberships in one message.
const MEMBERSHIPS: usize = 5000;

/// Returns an output as the messages of one update.
pub fn update(output: &Output, stamp: Stamp, full: bool) -> Vec<CompiledUpdate> {
    let classes: Vec<_> = output
        .classes
        .iter()
        .map(|(id, class)| message(*id, class))
        .collect();
    let lists: Vec<_> = output
        .source_lists
        .iter()
        .map(|(id, list)| proto::SourceList {
            id: *id,
            addresses: list.0.iter().cloned().collect(),
        })
        .collect();
    let members: Vec<_> = output
        .memberships
        .iter()
        .map(|member| proto::Membership {
            node_id: member.node,
            class_id: member.class,
        })
        .collect();
    let mut parts: Vec<CompiledUpdate> = Vec::new();
    let mut part = |part: CompiledUpdate| parts.push(part);
    part(CompiledUpdate {
        full,
        removed_classes: output.removed_classes.iter().copied().collect(),
        removed_source_lists: output.removed_source_lists.iter().copied().collect(),
        removed_nodes: output.removed_nodes.iter().copied().collect(),
        ..CompiledUpdate::default()
    });
    for some in lists.chunks(CLASSES) {
        part(CompiledUpdate {
            source_lists: some.to_vec(),
            ..CompiledUpdate::default()
        });
    }
    for some in classes.chunks(CLASSES) {
        part(CompiledUpdate {
            classes: some.to_vec(),
            ..CompiledUpdate::default()
        });
    }
    for some in members.chunks(MEMBERSHIPS) {
        part(CompiledUpdate {
            memberships: some.to_vec(),
            ..CompiledUpdate::default()
        });
    }
    for part in &mut parts {
        part.stamp = Some(stamp);
    }
    if let Some(last) = parts.last_mut() {
        last.last = true;
    }
    parts
}

fn message(id: u64, class: &Class) -> proto::Class {
    proto::Class {
        id,
        visible: class
            .visible
            .iter()
            .map(|(id, visible)| seen(*id, visible))
            .collect(),
        filter: class.filter.iter().map(rule).collect(),
        ..proto::Class::default()
    }
}

fn seen(class_id: u64, visible: &Visible) -> proto::VisibleClass {
    proto::VisibleClass {
        class_id,
        routes: visible.routes.iter().map(IpNet::to_string).collect(),
        exit_routes: visible.exit_routes,
        via_primaries: Vec::new(),
    }
}

fn rule(rule: &bowline_policy::FilterRule) -> proto::FilterRule {
    let destinations = rule.destinations.iter().map(|wanted| proto::Destination {
        address: Some(match &wanted.address {
            Address::Own => destination::Address::Own(true),
            Address::Literal(text) => destination::Address::Literal(text.clone()),
        }),
        first_port: wanted.ports.first.into(),
        last_port: wanted.ports.last.into(),
        families: 3,
    });
    proto::FilterRule {
        source_list_id: rule.source_list,
        destinations: destinations.collect(),
        protocols: rule
            .protocols
            .iter()
            .map(|number| (*number).into())
            .collect(),
        grants: Vec::new(),
    }
}
