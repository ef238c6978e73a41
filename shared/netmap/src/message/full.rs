//! The first message of a stream.

use std::collections::{BTreeMap, BTreeSet};

use bowline_control_wire::{
    Debug, DerpMap, DnsConfig, DnsRecord, MapResponse, Resolver, SshPolicy, plain_text,
};
use bowline_proto::identity::v1::Tailnet;
use chrono::{DateTime, Utc};

use super::{
    filter,
    look::Eyes,
    node,
    profile::{owner, profile},
    ssh,
};
use crate::View;

/// Returns everything node `id` may know, or `None` while it is not shown; it replaces all that its client knows, but
/// for the peers when there are none (see [`lost`](super::lost)).
///
/// A node whose key may not be offered (not approved, expired, its user suspended) is told of itself and of
/// nothing else.
#[must_use]
pub fn full(view: &View, id: u64, derp_map: &DerpMap, now: DateTime<Utc>) -> Option<MapResponse> {
    let eyes = Eyes::now(view, id)?;
    let mut users = BTreeSet::from([owner(&eyes.own.node)]);
    let mut peers = Vec::new();
    if eyes.own.offered {
        for peer in view
            .neighbours(eyes.own)
            .into_iter()
            .filter_map(|id| eyes.peer(id))
        {
            users.insert(owner(&peer.node));
            peers.push(node::peer(eyes, peer));
        }
    }
    Some(MapResponse {
        peers,
        ..head(eyes, users, derp_map, now)
    })
}

/// Returns the first message of a stream without its peers; `users` are those of its peers, and its own.
pub(crate) fn head(
    eyes: Eyes<'_>,
    users: BTreeSet<u64>,
    derp_map: &DerpMap,
    now: DateTime<Utc>,
) -> MapResponse {
    let (view, shown) = (eyes.look.view, eyes.own);
    let mut message = MapResponse {
        node: Some(node::own(eyes, now)),
        derp_map: Some(view.compiled.relays.over(derp_map)),
        domain: domain(&view.tailnet),
        dns_config: Some(dns_config(&view.tailnet)),
        collect_services: Some(false),
        debug: Some(Debug {
            disable_log_tail: true,
        }),
        control_time: Some(now),
        user_profiles: users.into_iter().map(|user| profile(view, user)).collect(),
        ..MapResponse::default()
    };
    // The client of a running stream has chunks and an SSH policy from before: what is not said here stays.
    if shown.offered {
        message.packet_filters = filter::replacing(filter::all(eyes));
        let settings = view.compiled.settings.get(&shown.settings);
        message.ssh_policy = settings.map(|set| ssh::policy(view, shown, set));
    } else {
        message.packet_filters = filter::replacing(filter::none());
        message.ssh_policy = Some(SshPolicy::default());
    }
    message
}

/// Returns the name clients show for the network.
pub(super) fn domain(tailnet: &Tailnet) -> String {
    match &*tailnet.display_name {
        "" => plain_text(&tailnet.name),
        shown => plain_text(shown),
    }
}

fn record(record: &bowline_proto::identity::v1::DnsRecord) -> DnsRecord {
    DnsRecord {
        name: plain_text(&record.name),
        kind: plain_text(&record.r#type),
        value: plain_text(&record.value),
    }
}

/// Returns the DNS settings of a tailnet's clients (protocol section 8.6).
pub(super) fn dns_config(tailnet: &Tailnet) -> DnsConfig {
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
        extra_records: settings.records.iter().map(record).collect(),
        ..DnsConfig::default()
    }
}
