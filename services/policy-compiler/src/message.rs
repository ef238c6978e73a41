//! Output as gateways are sent it: in messages of bounded size, the last one marked.

use bowline_policy::{
    Address, CapGrant, Capability, Class, FilterRule, ListChange, ListId, Output, Pass, Principals,
    Settings, SshLogin, Via,
};
use bowline_proto::policy::v1::{self as proto, CompiledUpdate, Stamp, destination};

/// The most classes, settings or lists in one message.
const PARTS: usize = 200;
/// The most memberships in one message.
const MEMBERSHIPS: usize = 5000;
/// The most elements of a list in one message.
const ELEMENTS: usize = 20_000;

/// Returns an output as the messages of one update.
#[must_use]
pub fn update(output: &Output, stamp: Stamp, full: bool) -> Vec<CompiledUpdate> {
    let mut parts = vec![head(output, full)];
    in_parts(&mut parts, PARTS, lists(output), |part, some| {
        part.source_lists = some
    });
    let classes = output
        .classes
        .iter()
        .filter_map(|(id, kept)| Some(class(*id, kept.as_deref()?)));
    in_parts(&mut parts, PARTS, classes, |part, some| part.classes = some);
    let kept = output
        .settings
        .iter()
        .filter_map(|(id, kept)| Some(settings(*id, kept.as_deref()?)));
    in_parts(&mut parts, PARTS, kept, |part, some| part.settings = some);
    let routes = output.routes.iter().filter_map(|(prefix, users)| {
        let users = users.as_deref()?;
        Some(proto::Route {
            prefix: prefix.to_string(),
            users: users.reach.clone(),
            reached: users.reached.clone(),
        })
    });
    in_parts(&mut parts, PARTS, routes, |part, some| part.routes = some);
    let vias = output
        .vias
        .iter()
        .filter_map(|(id, way)| Some(via(*id, way.as_deref()?)));
    in_parts(&mut parts, PARTS, vias, |part, some| part.vias = some);
    let members = output.nodes.iter().filter_map(|(node, membership)| {
        membership.map(|membership| proto::Membership {
            node_id: *node,
            class_id: membership.class,
            settings_id: membership.settings,
        })
    });
    in_parts(&mut parts, MEMBERSHIPS, members, |part, some| {
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

/// Returns the message with what is gone.
fn head(output: &Output, full: bool) -> CompiledUpdate {
    let common_filter = output.common_filter.as_ref();
    CompiledUpdate {
        full,
        common_filter: common_filter.map(|rules| proto::CommonFilter {
            rules: rules.iter().map(rule).collect(),
        }),
        derp_map: output.derp_map.as_ref().map(ToString::to_string),
        removed_classes: gone(&output.classes),
        removed_settings: gone(&output.settings),
        removed_routes: gone(&output.routes)
            .iter()
            .map(ToString::to_string)
            .collect(),
        removed_vias: gone(&output.vias),
        removed_nodes: gone(&output.nodes),
        ..CompiledUpdate::default()
    }
}

fn gone<K: Copy, V>(changes: &std::collections::BTreeMap<K, Option<V>>) -> Vec<K> {
    changes
        .iter()
        .filter(|(_, now)| now.is_none())
        .map(|(key, _)| *key)
        .collect()
}

/// Adds messages with a bounded number of items each.
fn in_parts<T>(
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

/// Returns the changes of lists, long ones in several.
fn lists(output: &Output) -> impl Iterator<Item = proto::SourceListChange> {
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
            let coming: Vec<_> = added
                .chunks(ELEMENTS)
                .map(|some| change(some, &[]))
                .collect();
            let going: Vec<_> = removed
                .chunks(ELEMENTS)
                .map(|some| change(&[], some))
                .collect();
            coming.into_iter().chain(going)
        })
}

fn class(id: u64, class: &Class) -> proto::Class {
    proto::Class {
        id,
        selectors: class.selectors.clone(),
        sees: class.sees.clone(),
        sees_own: class.sees_own,
        exit_routes: class.exit_routes,
        vias: class.vias.clone(),
        filter: class.filter.iter().map(rule).collect(),
        passes: class.passes.iter().map(pass).collect(),
    }
}

fn pass(pass: &Pass) -> proto::Pass {
    proto::Pass {
        way_id: pass.way,
        selector: pass.to,
    }
}

fn settings(id: u64, settings: &Settings) -> proto::Settings {
    proto::Settings {
        id,
        ssh: settings.ssh.iter().map(login).collect(),
        capabilities: capabilities(&settings.capabilities),
        peer_capabilities: capabilities(&settings.peer_capabilities),
        hide_ipv4: settings.hide_ipv4,
    }
}

fn via(id: u64, way: &Via) -> proto::Via {
    let route = |(prefix, nodes): (&ipnet::IpNet, &Vec<u64>)| proto::ViaRoute {
        prefix: prefix.to_string(),
        node_ids: nodes.clone(),
    };
    proto::Via {
        id,
        routes: way.routes.iter().map(route).collect(),
        exit_node_ids: way.exits.clone(),
    }
}

fn login(login: &SshLogin) -> proto::SshRule {
    let user = |(ssh_user, local_user): &(String, String)| proto::SshUser {
        ssh_user: ssh_user.clone(),
        local_user: local_user.clone(),
    };
    let principals = match &login.principals {
        Principals::Lists(lists) => lists.iter().copied().map(list_ref).collect(),
        Principals::Itself(_) => Vec::new(),
    };
    let itself = match login.principals {
        Principals::Lists(_) => 0,
        Principals::Itself(times) => u32::try_from(times).unwrap_or(u32::MAX),
    };
    proto::SshRule {
        principals,
        itself,
        users: login.users.iter().map(user).collect(),
        accept_env: login.accept_env.to_vec(),
        check: login.check,
        recorders: login.recorders.map(list_ref),
        enforce_recorder: login.enforce_recorder,
    }
}

fn list_ref(list: ListId) -> proto::ListRef {
    proto::ListRef {
        id: list.id,
        user_id: list.user,
    }
}

fn rule(rule: &FilterRule) -> proto::FilterRule {
    let destinations = rule.destinations.iter().map(|wanted| proto::Destination {
        address: Some(match &wanted.address {
            Address::Own => destination::Address::Own(true),
            Address::Literal(text) => destination::Address::Literal(text.clone()),
        }),
        first_port: wanted.ports.first.into(),
        last_port: wanted.ports.last.into(),
    });
    proto::FilterRule {
        source_list_id: rule.sources,
        per_user: rule.per_user,
        destinations: destinations.collect(),
        protocols: rule.protocol.into_iter().map(u32::from).collect(),
        grants: rule.grants.iter().map(grant).collect(),
    }
}

fn grant(grant: &CapGrant) -> proto::CapGrant {
    proto::CapGrant {
        own_ipv4: grant.own.0,
        own_ipv6: grant.own.1,
        routed: grant.routed.clone(),
        capabilities: capabilities(&grant.capabilities),
    }
}

fn capabilities(capabilities: &[Capability]) -> Vec<proto::Capability> {
    let capability = |capability: &Capability| proto::Capability {
        name: capability.name.clone(),
        values: capability.values.clone().unwrap_or_default(),
        null_value: capability.values.is_none(),
    };
    capabilities.iter().map(capability).collect()
}
