//! What happens to a fleet, one thing after the other.

mod alone;
mod changes;
mod joins;
mod mass;
mod policy;
mod revocations;
mod soak;
mod tailnets;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use anyhow::Result;

use crate::{
    administration::{Administration, NodeChange, RegisteredNode},
    fleet::Fleet,
    node::SimulatedNode,
    options::PhaseName,
    roster::{Presence, Roster, RosterNode, Standing},
    run::Run,
};

impl Run {
    /// Does one of the phases that can be left out.
    pub async fn do_phase(&mut self, phase: PhaseName) -> Result<()> {
        match phase {
            PhaseName::Alone => self.connect_alone().await,
            PhaseName::Reports => self.report_all().await,
            PhaseName::Idle => self.idle().await,
            PhaseName::Joins => self.join().await,
            PhaseName::Changes => self.change_endpoints().await,
            PhaseName::Policy => self.change_policy().await,
            PhaseName::Expire => self.revoke("expire", NodeChange::Expire).await,
            PhaseName::Disable => self.revoke("disable", NodeChange::Disable).await,
            PhaseName::Delete => self.revoke("delete", NodeChange::Delete).await,
            PhaseName::Suspend => self.suspend_last_person().await,
            PhaseName::Soak => self.soak().await,
            PhaseName::Reconnect => self.reconnect().await,
            PhaseName::Crash => self.crash().await,
        }
    }

    /// Adds the nodes of the fleet that were registered since to the roster; returns what is wrong with the registry's list.
    async fn enroll_nodes(&mut self) -> Result<Vec<String>> {
        enroll_nodes(&self.administration, &self.fleet, &mut self.roster).await
    }

    /// Returns an endpoint that nobody has had.
    fn next_endpoint(&mut self) -> SocketAddr {
        self.endpoints += 1;
        let first = Ipv4Addr::new(198, 18, 0, 0).to_bits();
        let host = Ipv4Addr::from_bits(first + self.endpoints % (1 << 17));
        let port = 1024 + (self.endpoints >> 17) % 60_000;
        SocketAddr::new(IpAddr::V4(host), u16::try_from(port).unwrap_or(1024))
    }

    /// Returns the places of nodes that take part.
    fn present_places(&self) -> Vec<usize> {
        let nodes = self.roster.nodes().iter().enumerate();
        let present = nodes.filter(|(_, node)| node.standing == Standing::Present);
        present.map(|(place, _)| place).collect()
    }

    fn nodes_at(&self, places: &[usize]) -> Vec<Arc<SimulatedNode>> {
        let nodes = places.iter().map(|place| &self.fleet.nodes[*place]);
        nodes.map(Arc::clone).collect()
    }
}

/// Adds the nodes of a fleet that were registered since to its roster, as the registry lists them; returns what is wrong with
/// its list.
pub async fn enroll_nodes(
    administration: &Administration,
    fleet: &Fleet,
    roster: &mut Roster,
) -> Result<Vec<String>> {
    let listed = administration.nodes().await?;
    let newcomers = &fleet.nodes[roster.nodes().len()..];
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for node in newcomers {
        match listed.get(&node.key) {
            Some(entry) => {
                let disco = administration.is_told_by_streams().then_some(node.disco);
                found.push(RosterNode {
                    disco,
                    ..roster_node(node, entry)
                });
            }
            None => faults.push(format!("the registry does not know node {}", node.place)),
        }
    }
    if !faults.is_empty() {
        // Places would not fit any more.
        anyhow::bail!("{}", faults.join("\n"));
    }
    faults.extend(roster.extend(found));
    Ok(faults)
}

fn roster_node(node: &SimulatedNode, entry: &RegisteredNode) -> RosterNode {
    RosterNode {
        id: entry.id,
        person: node.person,
        key: node.key,
        disco: None,
        addresses: entry.addresses,
        endpoint: None,
        standing: Standing::Present,
        presence: Presence::Offline,
    }
}
