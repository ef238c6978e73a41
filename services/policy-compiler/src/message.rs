//! The compiled output as messages for gateways: of bounded size, the last one marked.

use bowline_policy::{
    Capability, CapabilityGrant, Class, ClassFilterRule, CompiledSshRule, DestinationAddress,
    ListChange, ListId, NodeProfile, Output, SshPrincipals, Via, ViaTarget,
};
use bowline_proto::policy::v1::{self as proto, CompiledUpdate, Stamp, destination};

/// The most classes, profiles or lists in one message.
const ITEMS: usize = 200;
/// The most memberships in one message.
const MEMBERSHIPS: usize = 5000;
/// The most elements of a list in one message.
const ELEMENTS: usize = 20_000;

/// Returns an output as the messages of one update.
#[must_use]
pub fn update_messages(output: &Output, stamp: Stamp, full: bool) -> Vec<CompiledUpdate> {
    let mut parts = vec![removals_message(output, full)];
    push_in_parts(&mut parts, ITEMS, convert_lists(output), |part, some| {
        part.source_lists = some
    });
    let classes = output
        .classes
        .iter()
        .filter_map(|(id, class)| Some(convert_class(*id, class.as_deref()?)));
    push_in_parts(&mut parts, ITEMS, classes, |part, some| part.classes = some);
    let profiles = output
        .profiles
        .iter()
        .filter_map(|(id, profile)| Some(convert_profile(*id, profile.as_deref()?)));
    push_in_parts(&mut parts, ITEMS, profiles, |part, some| {
        part.settings = some
    });
    let routes = output.routes.iter().filter_map(|(prefix, users)| {
        let users = users.as_deref()?;
        Some(proto::Route {
            prefix: prefix.to_string(),
            users: users.reach.clone(),
            reached: users.reached.clone(),
        })
    });
    push_in_parts(&mut parts, ITEMS, routes, |part, some| part.routes = some);
    let vias = output
        .vias
        .iter()
        .filter_map(|(id, via)| Some(convert_via(*id, via.as_deref()?)));
    push_in_parts(&mut parts, ITEMS, vias, |part, some| part.vias = some);
    let members = output.nodes.iter().filter_map(|(node, membership)| {
        membership.map(|membership| proto::Membership {
            node_id: *node,
            class_id: membership.class,
            settings_id: membership.profile,
        })
    });
    push_in_parts(&mut parts, MEMBERSHIPS, members, |part, some| {
        part.memberships = some
    });
    for part in &mut parts {
        part.stamp = Some(stamp);
    }
    if let Some(last) = parts.last_mut() {
        last.last = true;
    }
    parts
}

/// Returns the first message: it lists what no longer exists.
fn removals_message(output: &Output, full: bool) -> CompiledUpdate {
    let common_filter = output.common_filter.as_ref();
    CompiledUpdate {
        full,
        common_filter: common_filter.map(|rules| proto::CommonFilter {
            rules: rules.iter().map(convert_filter_rule).collect(),
        }),
        derp_map: output.derp_map.as_ref().map(ToString::to_string),
        removed_classes: removed_keys(&output.classes),
        removed_settings: removed_keys(&output.profiles),
        removed_routes: removed_keys(&output.routes)
            .iter()
            .map(ToString::to_string)
            .collect(),
        removed_vias: removed_keys(&output.vias),
        removed_nodes: removed_keys(&output.nodes),
        ..CompiledUpdate::default()
    }
}

fn removed_keys<K: Copy, V>(changes: &std::collections::BTreeMap<K, Option<V>>) -> Vec<K> {
    changes
        .iter()
        .filter(|(_, now)| now.is_none())
        .map(|(key, _)| *key)
        .collect()
}

/// Adds messages with a bounded number of items each.
fn push_in_parts<T>(
    parts: &mut Vec<CompiledUpdate>,
    most: usize,
    items: impl IntoIterator<Item = T>,
    put: impl Fn(&mut CompiledUpdate, Vec<T>),
) {
    let mut items = items.into_iter().peekable();
    while items.peek().is_some() {
        let mut part = CompiledUpdate::default();
        put(&mut part, items.by_ref().take(most).collect());
        parts.push(part);
    }
}

/// Returns the changes of lists; a long one is divided.
fn convert_lists(output: &Output) -> impl Iterator<Item = proto::SourceListChange> {
    output
        .lists
        .iter()
        .flat_map(|(list, ListChange { added, removed })| {
            let change = move |added: &[String], removed: &[String]| proto::SourceListChange {
                id: list.id,
                user_id: list.user,
                added: added.to_vec(),
                removed: removed.to_vec(),
            };
            let added: Vec<_> = added.iter().map(ToString::to_string).collect();
            let removed: Vec<_> = removed.iter().map(ToString::to_string).collect();
            let additions = added.chunks(ELEMENTS).map(|some| change(some, &[]));
            let removals = removed.chunks(ELEMENTS).map(|some| change(&[], some));
            additions.chain(removals).collect::<Vec<_>>()
        })
}

fn convert_class(id: u64, class: &Class) -> proto::Class {
    proto::Class {
        id,
        selectors: class.selectors.clone(),
        sees: class.sees.clone(),
        sees_own: class.sees_own,
        exit_routes: class.exit_routes,
        vias: class.vias.clone(),
        filter: class.filter.iter().map(convert_filter_rule).collect(),
        passes: class.via_targets.iter().map(convert_via_target).collect(),
    }
}

fn convert_via_target(target: &ViaTarget) -> proto::Pass {
    proto::Pass {
        way_id: target.via,
        selector: target.to,
    }
}

fn convert_profile(id: u64, profile: &NodeProfile) -> proto::Settings {
    proto::Settings {
        id,
        ssh: profile.ssh.iter().map(convert_ssh_rule).collect(),
        capabilities: convert_capabilities(&profile.capabilities),
        peer_capabilities: convert_capabilities(&profile.peer_capabilities),
        hide_ipv4: profile.hide_ipv4,
    }
}

fn convert_via(id: u64, via: &Via) -> proto::Via {
    let route = |(prefix, nodes): (&ipnet::IpNet, &Vec<u64>)| proto::ViaRoute {
        prefix: prefix.to_string(),
        node_ids: nodes.clone(),
    };
    proto::Via {
        id,
        routes: via.routes.iter().map(route).collect(),
        exit_node_ids: via.exits.clone(),
    }
}

fn convert_ssh_rule(rule: &CompiledSshRule) -> proto::SshRule {
    let user = |(ssh_user, local_user): &(String, String)| proto::SshUser {
        ssh_user: ssh_user.clone(),
        local_user: local_user.clone(),
    };
    let principals = match &rule.principals {
        SshPrincipals::Lists(lists) => lists.iter().copied().map(convert_list_id).collect(),
        SshPrincipals::Itself(_) => Vec::new(),
    };
    let itself = match rule.principals {
        SshPrincipals::Lists(_) => 0,
        SshPrincipals::Itself(times) => u32::try_from(times).unwrap_or(u32::MAX),
    };
    proto::SshRule {
        principals,
        itself,
        users: rule.users.iter().map(user).collect(),
        accept_env: rule.accept_env.to_vec(),
        check: rule.check,
        recorders: rule.recorders.map(convert_list_id),
        enforce_recorder: rule.enforce_recorder,
        check_period_seconds: rule.check_period,
    }
}

fn convert_list_id(list: ListId) -> proto::ListRef {
    proto::ListRef {
        id: list.id,
        user_id: list.user,
    }
}

fn convert_filter_rule(rule: &ClassFilterRule) -> proto::FilterRule {
    let destinations = rule.destinations.iter().map(|wanted| proto::Destination {
        address: Some(match &wanted.address {
            DestinationAddress::Own => destination::Address::Own(true),
            DestinationAddress::Literal(text) => destination::Address::Literal(text.clone()),
        }),
        first_port: wanted.ports.first.into(),
        last_port: wanted.ports.last.into(),
    });
    proto::FilterRule {
        source_list_id: rule.sources,
        per_user: rule.per_user,
        destinations: destinations.collect(),
        protocols: rule.protocol.into_iter().map(u32::from).collect(),
        grants: rule.grants.iter().map(convert_grant).collect(),
    }
}

fn convert_grant(grant: &CapabilityGrant) -> proto::CapGrant {
    proto::CapGrant {
        own_ipv4: grant.own_ipv4,
        own_ipv6: grant.own_ipv6,
        routed: grant.routed.clone(),
        capabilities: convert_capabilities(&grant.capabilities),
    }
}

fn convert_capabilities(capabilities: &[Capability]) -> Vec<proto::Capability> {
    let capability = |capability: &Capability| proto::Capability {
        name: capability.name.clone(),
        values: capability.values.clone().unwrap_or_default(),
        null_value: capability.values.is_none(),
    };
    capabilities.iter().map(capability).collect()
}
