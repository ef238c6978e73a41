//! A client: it adds up what it is sent.

use std::collections::BTreeMap;

use bowline_control_wire::{MapResponse, Node as WireNode, PeerChange};
use serde_json::Value;

/// What a client knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    own: Value,
    pub(super) peers: BTreeMap<u64, WireNode>,
    filters: BTreeMap<String, Value>,
    ssh: Value,
    dns: Value,
    lock: Value,
    profiles: BTreeMap<u64, Value>,
}

impl Client {
    /// Returns everything in one comparable form; of the profiles it keeps for ever, those of the nodes it knows.
    pub(super) fn known(&self) -> Value {
        let Self {
            own,
            peers,
            filters,
            ssh,
            dns,
            lock,
            profiles,
        } = self;
        let own_user = own["User"].as_u64();
        let users = peers.values().map(|peer| peer.user).chain(own_user);
        let profiles: BTreeMap<_, _> = users.map(|user| (user, &profiles[&user])).collect();
        serde_json::json!({"own": own, "peers": peers, "filters": filters, "ssh": ssh, "dns": dns, "lock": lock, "profiles": profiles})
    }

    /// Returns whatever its filters and SSH rules name as sources.
    pub(super) fn sources(&self) -> Vec<String> {
        let rules = self.filters.values().filter_map(Value::as_array).flatten();
        let sources = rules.filter_map(|rule| rule["SrcIPs"].as_array()).flatten();
        let logins = self.ssh["rules"].as_array().into_iter().flatten();
        let principals = logins
            .filter_map(|rule| rule["principals"].as_array())
            .flatten();
        let addresses = principals.map(|principal| &principal["nodeIP"]);
        let named = sources.chain(addresses).filter_map(Value::as_str);
        named.map(str::to_owned).collect()
    }

    pub(super) fn receive(&mut self, message: MapResponse) {
        if let Some(node) = message.node {
            // What it reported itself a client is not told again.
            let node = WireNode {
                home_derp: 0,
                ..node
            };
            self.own = serde_json::to_value(node).unwrap();
        }
        let profiles = message.user_profiles.into_iter();
        self.profiles
            .extend(profiles.map(|profile| (profile.id, serde_json::to_value(profile).unwrap())));
        // A list of peers replaces all; one without any is none.
        if !message.peers.is_empty() {
            let peers = message.peers.into_iter();
            self.peers = peers.map(|peer| (peer.id, peer)).collect();
        }
        self.peers.extend(
            message
                .peers_changed
                .into_iter()
                .map(|peer| (peer.id, peer)),
        );
        for id in message.peers_removed {
            self.peers.remove(&id);
        }
        for change in message.peers_changed_patch {
            let peer = self
                .peers
                .get_mut(&change.node_id)
                .expect("a patch is of a known peer");
            patch(peer, change);
        }
        let mut filters = message.packet_filters;
        if filters.remove("*").is_some() {
            self.filters.clear();
        }
        for (name, rules) in filters {
            match rules {
                // An empty chunk allows what no chunk allows: nothing.
                Some(rules) if rules.is_empty() => self.filters.remove(&name),
                Some(rules) => self
                    .filters
                    .insert(name, serde_json::to_value(rules).unwrap()),
                None => self.filters.remove(&name),
            };
        }
        if let Some(dns) = message.dns_config {
            self.dns = serde_json::to_value(dns).unwrap();
        }
        if let Some(lock) = message.tka_info {
            self.lock = serde_json::to_value(lock).unwrap();
        }
        if let Some(policy) = message.ssh_policy {
            self.ssh = serde_json::to_value(policy).unwrap();
        }
    }
}

fn patch(peer: &mut WireNode, change: PeerChange) {
    if change.derp_region != 0 {
        peer.home_derp = change.derp_region;
    }
    if let Some(online) = change.online {
        peer.online = Some(online);
        peer.last_seen = None;
    }
    if change.last_seen.is_some() {
        peer.last_seen = change.last_seen;
    }
    if !change.endpoints.is_empty() {
        peer.endpoints = change.endpoints;
    }
    if let Some(key) = change.key {
        peer.key = key;
    }
    if let Some(signature) = change.key_signature {
        peer.key_signature = signature;
    }
}

/// Returns the place of the first difference between what two clients know, and what stands there.
pub(super) fn first_difference(has: &Value, fresh: &Value) -> Option<(String, Value, Value)> {
    if has == fresh {
        return None;
    }
    let (Value::Object(had), Value::Object(new)) = (has, fresh) else {
        return Some((String::new(), has.clone(), fresh.clone()));
    };
    let names: std::collections::BTreeSet<_> = had.keys().chain(new.keys()).collect();
    names.into_iter().find_map(|name| {
        let member =
            |of: &serde_json::Map<String, Value>| of.get(name).cloned().unwrap_or_default();
        let (place, has, fresh) = first_difference(&member(had), &member(new))?;
        Some((format!(" {name}{place}"), has, fresh))
    })
}
