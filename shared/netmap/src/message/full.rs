//! The first message of a stream.

use std::collections::{BTreeMap, BTreeSet};

use bowline_control_wire::{
    Debug, DerpMap, DnsConfig, DnsRecord, MapResponse, Resolver, SshPolicy, TkaInfo, plain_text,
};
use bowline_ids::{NodeId, UserId};
use bowline_proto::{identity::v1::Tailnet, key_registry::v1::TailnetLock};
use chrono::{DateTime, Utc};

use super::{
    filter, node,
    profile::{owner_id, user_profile},
    ssh,
    viewer::Viewer,
};
use crate::View;

/// Returns everything node `id` may know, or `None` while it is not shown; it replaces all that its client knows, but
/// for the peers when there are none (see [`lost_peers`](super::lost_peers)).
///
/// A node whose key may not be offered (not approved, disabled, expired, its user suspended) is told of itself and of
/// nothing else.
#[must_use]
pub fn build_full(
    view: &View,
    id: NodeId,
    derp_map: &DerpMap,
    now: DateTime<Utc>,
) -> Option<MapResponse> {
    let viewer = Viewer::now(view, id)?;
    let mut users = BTreeSet::from([owner_id(&viewer.own.node)]);
    let mut peers = Vec::new();
    if viewer.own.offered {
        for peer in view
            .possible_peers(viewer.own)
            .into_iter()
            .filter_map(|id| viewer.visible_peer(id))
        {
            users.insert(owner_id(&peer.node));
            peers.push(node::peer_node(viewer, peer));
        }
    }
    Some(MapResponse {
        peers,
        ..full_without_peers(viewer, users, derp_map, now)
    })
}

/// Returns the first message of a stream without its peers; `users` are those of its peers, and its own.
pub(crate) fn full_without_peers(
    viewer: Viewer<'_>,
    users: BTreeSet<UserId>,
    derp_map: &DerpMap,
    now: DateTime<Utc>,
) -> MapResponse {
    let (view, shown) = (viewer.at.view, viewer.own);
    let mut message = MapResponse {
        node: Some(node::own_node(viewer, now)),
        derp_map: Some(view.compiled.relays.merge_into(derp_map)),
        domain: domain(&view.tailnet),
        dns_config: Some(dns_config(&view.tailnet)),
        collect_services: Some(false),
        debug: Some(Debug {
            disable_log_tail: true,
        }),
        // It replaces what the client of a running stream knows, so that "off" is said, too, where the lock was on.
        tka_info: (view.lock != TailnetLock::default()).then(|| lock_info(&view.lock)),
        control_time: Some(now),
        user_profiles: users
            .into_iter()
            .map(|user| user_profile(view, user))
            .collect(),
        ..MapResponse::default()
    };
    // The client of a running stream has chunks and an SSH policy from before: what is not said here stays.
    if shown.offered {
        message.packet_filters = filter::replace_all(filter::all_chunks(viewer));
        let settings = view.compiled.settings.get(&shown.settings);
        message.ssh_policy = settings.map(|set| ssh::ssh_policy(view, shown, set));
    } else {
        message.packet_filters = filter::replace_all(filter::deny_all());
        message.ssh_policy = Some(SshPolicy::default());
    }
    message
}

/// Returns what clients are told of tailnet lock.
pub(super) fn lock_info(lock: &TailnetLock) -> TkaInfo {
    TkaInfo {
        head: lock.head.clone(),
        disabled: lock.head.is_empty(),
    }
}

/// Returns the name clients show for the network.
pub(super) fn domain(tailnet: &Tailnet) -> String {
    match &*tailnet.display_name {
        "" => plain_text(&tailnet.name),
        shown => plain_text(shown),
    }
}

fn dns_record(record: &bowline_proto::identity::v1::DnsRecord) -> DnsRecord {
    DnsRecord {
        name: plain_text(&record.name),
        kind: plain_text(&record.r#type),
        value: plain_text(&record.value),
    }
}

/// Returns the DNS settings of a tailnet's clients (protocol section 8.6).
pub(super) fn dns_config(tailnet: &Tailnet) -> DnsConfig {
    // A tailnet has no settings until one is made.
    let settings = tailnet.dns.clone().unwrap_or_default();
    let resolver = |addr: &String| Resolver {
        addr: plain_text(addr),
        ..Resolver::default()
    };
    let suffix = plain_text(&tailnet.magic_dns_suffix);
    let mut routes: BTreeMap<_, Vec<_>> = settings
        .split
        .iter()
        .map(|split| {
            (
                plain_text(&split.suffix),
                split.nameservers.iter().map(resolver).collect(),
            )
        })
        .collect();
    if settings.magic_dns {
        routes.insert(format!("{suffix}."), Vec::new());
    }
    let nameservers: Vec<_> = settings.nameservers.iter().map(resolver).collect();
    // An operating system with split DNS asks the client only for names that a route covers.
    for record in &settings.records {
        let is_below = |suffix: &String| {
            let suffix = suffix.trim_end_matches('.');
            let above = record.name.strip_suffix(suffix);
            above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
        };
        if !routes.keys().any(is_below) {
            routes.insert(plain_text(&record.name), nameservers.clone());
        }
    }
    let (resolvers, fallback_resolvers) = if settings.override_local {
        (nameservers, Vec::new())
    } else {
        (Vec::new(), nameservers)
    };
    let searched = settings
        .search_domains
        .iter()
        .map(|domain| plain_text(domain));
    DnsConfig {
        resolvers,
        routes,
        fallback_resolvers,
        domains: [suffix].into_iter().chain(searched).collect(),
        proxied: settings.magic_dns,
        extra_records: settings.records.iter().map(dns_record).collect(),
        ..DnsConfig::default()
    }
}
