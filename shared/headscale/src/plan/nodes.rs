//! headscale's nodes, as they are here.

use std::collections::{BTreeMap, BTreeSet};

use bowline_policy::{Applicant, Policy, PolicyUser, Role, refused_tags};
use bowline_proto::{
    key_registry::v1::{Endpoint, Node, SoftState},
    time::to_timestamp,
};
use ipnet::IpNet;
use serde::Deserialize;

use super::{MovingNode, MovingUser, Note, addresses, names};
use crate::rows::{HeadscaleData, HeadscaleKey, HeadscaleNode};

/// The most endpoints that are kept of a client, and the longest description of a host.
const MOST_ENDPOINTS: usize = 64;
const LONGEST_HOSTINFO: usize = 64 << 10;
/// The longest text of a host.
const LONGEST_TEXT: usize = 256;

/// What a client says of its host, as far as it is kept apart.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct HostFacts {
    hostname: String,
    #[serde(rename = "OS")]
    os: String,
    #[serde(rename = "IPNVersion")]
    ipn_version: String,
    #[serde(rename = "RoutableIPs")]
    routable_ips: Option<Vec<String>>,
    request_tags: Option<Vec<String>>,
    net_info: Option<NetFacts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct NetFacts {
    #[serde(rename = "PreferredDERP")]
    preferred_derp: u32,
}

/// Says what becomes of each node.
pub(super) fn move_nodes(
    data: &HeadscaleData,
    policy: Option<&Policy>,
    users: &[MovingUser],
    notes: &mut Vec<Note>,
) -> Vec<MovingNode> {
    let keys: BTreeMap<i64, &HeadscaleKey> = data.keys.iter().map(|key| (key.id, key)).collect();
    let users: BTreeMap<i64, &MovingUser> =
        users.iter().map(|user| (user.there.id, user)).collect();
    let (mut moving, mut labels) = (Vec::new(), BTreeSet::new());
    for there in &data.nodes {
        let mut note = |text: String| {
            notes.push(Note {
                about: "node",
                name: there.given_name.clone(),
                text,
            });
        };
        // A host that says something else is taken for one that has said nothing.
        let host: HostFacts = serde_json::from_value(there.host_info.clone()).unwrap_or_default();
        let key = keys.get(&there.auth_key_id).copied();
        let owner = users.get(&there.user_id).copied();
        let tags = match data.tags_are_whole {
            true => there.tags.clone(),
            false => all_tags(there, &host, key, owner, policy),
        };
        if tags.is_empty() && owner.is_none() {
            note("does not move: it has neither a user nor tags".to_owned());
            continue;
        }
        let wanted = names::to_label(&there.given_name);
        let numbered = (1..).map(|number| format!("{}-{number}", &wanted[..wanted.len().min(56)]));
        let mut free = std::iter::once(wanted.clone()).chain(numbered);
        let name = free
            .find(|name| labels.insert(name.clone()))
            .unwrap_or_default();
        if name != there.given_name {
            note(format!("is called {name}"));
        }
        for (address, keeps) in [
            (&there.ipv4, addresses::keeps_ipv4 as fn(&str) -> bool),
            (&there.ipv6, addresses::keeps_ipv6),
        ] {
            if !address.is_empty() && !keeps(address) {
                note(format!(
                    "gets another address than {address}, which is none of those that clients take"
                ));
            }
        }
        moving.push(move_node(there, &host, name, tags, key));
    }
    moving
}

fn move_node(
    there: &HeadscaleNode,
    host: &HostFacts,
    name: String,
    mut tags: Vec<String>,
    key: Option<&HeadscaleKey>,
) -> MovingNode {
    tags.sort();
    tags.dedup();
    let kept = |address: &String, keeps: fn(&str) -> bool| match keeps(address) {
        true => address.clone(),
        false => String::new(),
    };
    let node = Node {
        machine_key: there.machine_key.to_vec(),
        node_key: there.node_key.to_vec(),
        name,
        ipv4: kept(&there.ipv4, addresses::keeps_ipv4),
        ipv6: kept(&there.ipv6, addresses::keeps_ipv6),
        advertised_routes: prefixes(host.routable_ips.as_deref().unwrap_or_default()),
        approved_routes: prefixes(&there.approved_routes),
        // Keys of tagged nodes have no end here.
        key_expiry: there.expiry.filter(|_| tags.is_empty()).map(to_timestamp),
        tags,
        ephemeral: key.is_some_and(|key| key.ephemeral),
        hostname: shortened(match &*host.hostname {
            "" => &there.hostname,
            name => name,
        }),
        os: shortened(&host.os),
        client_version: shortened(&host.ipn_version),
        requested_tags: host.request_tags.clone().unwrap_or_default(),
        created_at: there.created_at.map(to_timestamp),
        ..Node::default()
    };
    let hostinfo = there.host_info.to_string().into_bytes();
    let endpoints = there.endpoints.iter();
    let is_address = |text: &&String| text.parse::<std::net::SocketAddr>().is_ok();
    let state = SoftState {
        disco_key: there.disco_key.map(Vec::from).unwrap_or_default(),
        endpoints: endpoints
            .filter(is_address)
            .take(MOST_ENDPOINTS)
            .map(|address| Endpoint {
                address: address.clone(),
                kind: 0,
            })
            .collect(),
        home_derp: host.net_info.as_ref().map_or(0, |net| net.preferred_derp),
        hostinfo: match hostinfo.len() {
            _ if there.host_info.is_null() => Vec::new(),
            0..=LONGEST_HOSTINFO => hostinfo,
            _ => Vec::new(),
        },
        last_seen: there.last_seen.map(to_timestamp),
        ..SoftState::default()
    };
    MovingNode {
        user_id: there.user_id,
        node,
        state,
    }
}

/// Returns a node's tags as headscale until 0.27 puts them together: those an administrator gave, those of its key, and those
/// it asks for and may have.
fn all_tags(
    there: &HeadscaleNode,
    host: &HostFacts,
    key: Option<&HeadscaleKey>,
    owner: Option<&MovingUser>,
    policy: Option<&Policy>,
) -> Vec<String> {
    let mut tags = there.tags.clone();
    tags.extend(key.iter().flat_map(|key| key.tags.iter().cloned()));
    let requested = host.request_tags.clone().unwrap_or_default();
    if let (Some(policy), Some(owner)) = (policy, owner) {
        let id = owner.there.id.cast_unsigned();
        let name = &owner.user.login_name;
        let applicant = Applicant {
            user: Some(PolicyUser::new(id, name, Role::Member, &[])),
            ..Applicant::default()
        };
        let refused = refused_tags(policy, &applicant, &requested);
        tags.extend(requested.into_iter().filter(|tag| !refused.contains(tag)));
    }
    tags
}

/// Returns the texts that are prefixes, in one spelling.
fn prefixes(texts: &[String]) -> Vec<String> {
    let parsed = texts.iter().filter_map(|text| text.parse::<IpNet>().ok());
    let canonical: BTreeSet<String> = parsed.map(|prefix| prefix.trunc().to_string()).collect();
    canonical.into_iter().collect()
}

fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(LONGEST_TEXT)].to_owned()
}
