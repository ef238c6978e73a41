//! Endpoints that change one after the other, at a rate, while some nodes have gone wrong and strangers lie.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use anyhow::Result;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    fleet::Told,
    liar::lie_until_believed,
    link::NodeMode,
    node::SimulatedNode,
    pace::run_at_rate,
    report::{LatencySummary, PhaseReport},
    roster::{Presence, Standing},
    run::Run,
};

/// A report of an endpoint that is the last of its kind.
struct EndpointChange {
    place: usize,
    intended: Instant,
}

/// All changes of a phase, by endpoint.
type EndpointChanges = BTreeMap<SocketAddr, EndpointChange>;

impl Run {
    /// Changes endpoints at the rate that is wanted.
    pub async fn change_endpoints(&mut self) -> Result<()> {
        let liars = self.let_go_wrong();
        let meter = self.begin_phase();
        let count = (f64::from(self.options.seconds) * self.options.rate)
            .ceil()
            .max(1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small number"
        )]
        let count = count as usize;
        let reporters = self.reporters();
        let endpoints: Vec<_> = (0..count).map(|_| self.next_endpoint()).collect();
        let context = Arc::clone(&self.fleet.context);
        let due = run_at_rate(count, self.options.rate, |number, intended| {
            // One after the other, those that stand far apart.
            let node = Arc::clone(&reporters[number * 7919 % reporters.len()]);
            let (context, endpoint) = (Arc::clone(&context), endpoints[number]);
            async move {
                if let Err(error) = node.report(&context, endpoint).await {
                    context.count_error(&error);
                }
                (
                    endpoint,
                    EndpointChange {
                        place: node.place,
                        intended,
                    },
                )
            }
        });
        let mut changes: EndpointChanges = due.await.into_iter().collect();
        for endpoint in &endpoints {
            let Some(change) = changes.get_mut(endpoint) else {
                continue;
            };
            let entry = self.roster.node_mut(change.place);
            entry.endpoint = Some(*endpoint);
            entry.disco = Some(self.fleet.nodes[change.place].disco);
        }
        let is_wanted = |heard: &crate::view::Heard| {
            heard.endpoint.is_some_and(|one| changes.contains_key(&one))
        };
        let (report, told) = self.settle_phase("changes", &meter, is_wanted).await;
        let report = self.judge_changes(report, &changes, &told);
        self.keep(with_lies(report, liars));
        Ok(())
    }

    /// Lets the nodes that are to go wrong do so, and strangers lie.
    pub(super) fn let_go_wrong(&mut self) -> JoinSet<&'static str> {
        let mut wrong = 0;
        for node in &self.fleet.nodes {
            node.set_wrong(true);
            if matches!(node.mode, NodeMode::Stalled | NodeMode::HalfOpen) {
                self.roster.node_mut(node.place).presence = Presence::Unsure;
                wrong += 1;
            }
        }
        let (mut liars, victim) = (JoinSet::new(), self.fleet.nodes[0].key);
        for number in 0..wrong / 2 {
            let place = self.fleet.nodes.len() + number;
            liars.spawn(lie_until_believed(
                Arc::clone(&self.fleet.context),
                place,
                victim,
            ));
        }
        liars
    }

    /// Returns the nodes without fault that take part.
    pub(super) fn reporters(&self) -> Vec<Arc<SimulatedNode>> {
        let mut nodes = self.nodes_at(&self.present_places());
        nodes.retain(|node| node.mode == NodeMode::Healthy);
        nodes
    }

    /// Compares what was told with what had to be, and sums up how long it took from the intended moment.
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn judge_changes(
        &self,
        mut report: PhaseReport,
        changes: &EndpointChanges,
        told: &[Told],
    ) -> PhaseReport {
        let nodes = self.roster.nodes();
        let mut heard = BTreeSet::new();
        // To nodes at the gateway of the node that changed, and at others.
        let mut took: [Vec<Duration>; 2] = Default::default();
        for one in told {
            let endpoint = one.heard.endpoint;
            let Some((endpoint, change)) = endpoint.and_then(|one| changes.get_key_value(&one))
            else {
                continue;
            };
            let node = &self.fleet.nodes[one.place];
            if heard.insert((*endpoint, one.place)) && node.mode == NodeMode::Healthy {
                let is_elsewhere = node.gateway() != self.fleet.nodes[change.place].gateway();
                let time = one.at.saturating_duration_since(change.intended);
                took[usize::from(is_elsewhere)].push(time);
            }
        }
        let [here, elsewhere] = &took;
        if let (Some(here), Some(elsewhere)) = (
            LatencySummary::of(here.iter().copied()),
            LatencySummary::of(elsewhere.iter().copied()),
        ) {
            let between = elsewhere.p50 - here.p50;
            report
                .figures
                .insert("ms from one gateway to another, p50", between);
        }
        let mut missed = 0;
        for (endpoint, change) in changes {
            let person = nodes[change.place].person;
            let has_to_know = |place: &usize| {
                let node = &nodes[*place];
                *place != change.place
                    && (node.standing, node.presence) == (Standing::Present, Presence::Online)
                    && self.table.are_peers(person, node.person)
            };
            let those = (0..nodes.len()).filter(has_to_know);
            missed += those
                .filter(|place| !heard.contains(&(*endpoint, *place)))
                .count();
        }
        report.figures.insert(
            "bytes for each recipient",
            report.bytes as f64 / report.messages.max(1) as f64,
        );
        report
            .figures
            .insert("recipients that were never told", missed as f64);
        PhaseReport {
            operations: changes.len(),
            latency_ms: LatencySummary::of(took.into_iter().flatten()),
            ..report
        }
    }
}

/// Adds the lies that were believed.
pub(super) fn with_lies(mut report: PhaseReport, mut liars: JoinSet<&'static str>) -> PhaseReport {
    while let Some(believed) = liars.try_join_next() {
        report.fault_count += 1;
        report
            .faults
            .push(format!("a lie was believed: {believed:?}"));
    }
    report
}
