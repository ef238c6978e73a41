//! A tailnet beside the one under load: what stays quiet costs something, too.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use tokio::time::Instant;

use crate::{
    access_plan::{AccessPlan, AccessTable},
    administration::{Administration, AdministratorAccess},
    fleet::{Fleet, FleetContext, QUIET},
    link::NodeMode,
    node::SimulatedNode,
    phases::enroll_nodes,
    roster::{Presence, Roster},
    session::Transport,
};

/// How many nodes each has: one at each of two gateways, so that both follow the tailnet.
const QUIET_NODES: usize = 2;
/// The place of the first of all of them: behind those of the fleet under load, whose addresses are others.
const FIRST_PLACE: usize = 20_000;

/// A tailnet of one person, whose nodes hold their streams.
pub struct QuietTailnet {
    fleet: Fleet,
    roster: Roster,
    table: AccessTable,
}

impl QuietTailnet {
    /// Makes a tailnet and its nodes, and lets them connect.
    ///
    /// # Errors
    ///
    /// What the server says.
    pub async fn start(
        number: usize,
        access: AdministratorAccess,
        context: Arc<FleetContext>,
    ) -> Result<Self> {
        let plan = AccessPlan::allow_all(1);
        let administration = Administration::begin(access, 1).await?;
        administration.set_policy(&plan).await?;
        let first = FIRST_PLACE + number * QUIET_NODES;
        let places = first..first + QUIET_NODES;
        let mut fleet = Fleet::new(Arc::clone(&context), QUIET);
        fleet.extend(
            places.map(|place| SimulatedNode::new(place, 0, NodeMode::Healthy, Transport::Noise)),
        );
        for node in &fleet.nodes {
            node.register(&context, &administration.auth_keys[0])
                .await?;
        }
        let mut roster = Roster::default();
        let faults = enroll_nodes(&administration, &fleet, &mut roster).await?;
        ensure!(faults.is_empty(), "{}", faults.join("\n"));
        for (place, node) in fleet.nodes.iter().enumerate() {
            node.connect(&context, Instant::now());
            roster.node_mut(place).presence = Presence::Online;
        }
        Ok(Self {
            fleet,
            roster,
            table: plan.table(),
        })
    }

    /// Waits until both nodes have their first message, and returns how long each waited; `None`: it has none.
    pub async fn wait_for_maps(&self, deadline: Instant) -> Vec<Option<Duration>> {
        let places: Vec<_> = (0..self.fleet.nodes.len()).collect();
        self.fleet.wait_for_maps(&places, deadline).await;
        self.fleet.nodes.iter().map(|node| node.waited()).collect()
    }

    /// Opens what has come since, and returns how many views were compared, and what is wrong with them.
    pub fn check(&mut self) -> (usize, Vec<String>) {
        self.fleet.open_frames(|_| false);
        self.fleet.check(&self.roster, &self.table)
    }
}
