//! What each node has to know, computed from the list of nodes and the rules alone, and how a view differs from it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use bowline_control_wire::NetPortRange;
use ipnet::IpNet;

use crate::{
    access_plan::{AccessTable, Ports, merge_ports},
    roster::{Presence, Roster, RosterNode, Standing},
    view::{KnownNode, NodeView},
};

/// The most faults that are told of one view: the first ones say enough.
const TOLD: usize = 5;

/// Compares the view of the node at a place with what it has to be, and returns what is wrong.
pub fn check_view(
    roster: &Roster,
    table: &AccessTable,
    place: usize,
    view: &NodeView,
) -> Vec<String> {
    let nodes = roster.nodes();
    let own = &nodes[place];
    let mut faults = view.faults.clone();
    match &view.own {
        Some((id, known)) if *id == own.id && has_identity(own, known) && !known.expired => {}
        other => faults.push(format!("knows itself as {other:?}")),
    }
    let mut unexpected: BTreeMap<_, _> = view.peers.iter().collect();
    for (other, node) in nodes.iter().enumerate() {
        if other == place || !table.are_peers(own.person, node.person) {
            continue;
        }
        match node.standing {
            Standing::Present => {}
            Standing::Revoked => continue,
            Standing::Ended => {
                if unexpected.get(&node.id).is_some_and(|known| known.expired) {
                    unexpected.remove(&node.id);
                }
                continue;
            }
        }
        match unexpected.remove(&node.id) {
            None => faults.push(format!("does not know peer {}", node.id)),
            Some(known) => faults.extend(peer_fault(node, known)),
        }
    }
    let unexpected = unexpected.keys();
    faults.extend(unexpected.map(|id| format!("knows {id}, which is no peer")));
    faults.extend(filter_faults(roster, table, place, view));
    let more = faults.len().saturating_sub(TOLD);
    faults.truncate(TOLD);
    if more > 0 {
        faults.push(format!("and {more} faults more"));
    }
    let told = faults.into_iter();
    told.map(|fault| format!("node {}: {fault}", own.id))
        .collect()
}

fn has_identity(node: &RosterNode, known: &KnownNode) -> bool {
    known.key == node.key && known.addresses == node.addresses.map(IpNet::from)
}

fn peer_fault(node: &RosterNode, known: &KnownNode) -> Option<String> {
    let endpoints: Vec<_> = node.endpoint.into_iter().collect();
    let is_online = match node.presence {
        Presence::Online => known.online == Some(true),
        Presence::Offline => known.online == Some(false),
        Presence::Unsure => true,
    };
    let is_right = has_identity(node, known)
        && !known.has_routes
        && !known.expired
        && known.disco == node.disco
        && known.endpoints == endpoints
        && is_online;
    (!is_right).then(|| format!("knows a peer as {known:?}, which is {node:?}"))
}

/// Compares whom the filter lets in, by port, with whom the rules do. Sources that take part no more are of no weight: nobody
/// holds a tunnel to them.
fn filter_faults(
    roster: &Roster,
    table: &AccessTable,
    place: usize,
    view: &NodeView,
) -> Vec<String> {
    let nodes = roster.nodes();
    let own = &nodes[place];
    let mut faults = Vec::new();
    for family in 0..2 {
        let admitted = admitted_ports(roster, own.addresses[family], view);
        for (other, node) in nodes.iter().enumerate() {
            if other == place || node.standing != Standing::Present {
                continue;
            }
            let wanted = table.ports(node.person, own.person);
            let held = admitted.get(&other).map_or(&[][..], |ports| &ports[..]);
            if held != wanted {
                faults.push(format!(
                    "admits {held:?} from {}, which is {wanted:?}",
                    node.addresses[family]
                ));
            }
        }
    }
    faults
}

/// Returns the ports of an address that each node may reach from its own address of the same kind.
fn admitted_ports(
    roster: &Roster,
    destination: IpAddr,
    view: &NodeView,
) -> BTreeMap<usize, Vec<Ports>> {
    let mut admitted: BTreeMap<usize, Vec<Ports>> = BTreeMap::new();
    for rule in view.rules() {
        let holds = |target: &&NetPortRange| {
            address_ranges(&target.ip)
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&destination))
        };
        let targets = rule.dst_ports.iter().filter(holds);
        let ports: Vec<_> = targets
            .map(|target| (target.ports.first, target.ports.last))
            .collect();
        if ports.is_empty() {
            continue;
        }
        for (first, last) in rule.src_ips.iter().flat_map(|text| address_ranges(text)) {
            if first.is_ipv4() == destination.is_ipv4() {
                for source in roster.within(first, last) {
                    admitted.entry(source).or_default().extend(&ports);
                }
            }
        }
    }
    for ports in admitted.values_mut() {
        *ports = merge_ports(std::mem::take(ports));
    }
    admitted
}

/// Returns the addresses that a filter names: `*`, an address, a prefix, or a range. What can not be read names none.
fn address_ranges(text: &str) -> Vec<(IpAddr, IpAddr)> {
    if text == "*" {
        return vec![
            (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into()),
            (
                Ipv6Addr::UNSPECIFIED.into(),
                Ipv6Addr::from([0xff; 16]).into(),
            ),
        ];
    }
    let range = match text.split_once('-') {
        Some((first, last)) => first.parse().ok().zip(last.parse().ok()),
        None => {
            let network = text
                .parse::<IpNet>()
                .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network
                .ok()
                .map(|network| (network.network(), network.broadcast()))
        }
    };
    range.into_iter().collect()
}

#[cfg(test)]
mod tests;
