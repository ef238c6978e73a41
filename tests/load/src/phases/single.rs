//! What happens to one node, or to the policy.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::Result;
use tokio::time::{Instant, sleep_until};

use crate::{
    access_plan::{AccessPlan, AccessRule, Party},
    administration::NodeChange,
    fleet::Told,
    pace::run_at_rate,
    report::{LatencySummary, PhaseReport},
    roster::{Presence, Standing},
    run::{PATIENCE, PhaseMeter, Run},
    view::Heard,
};

/// How many nodes join one after the other.
const JOINS: usize = 10;
/// How many nodes are revoked one after the other, each way.
const REVOCATIONS: usize = 20;

impl Run {
    /// Lets nodes join at the rate that is wanted: each registers, and then connects.
    pub async fn join(&mut self) -> Result<()> {
        let begin = self.fleet.nodes.len();
        self.add_nodes(JOINS);
        let newcomers = self.fleet.nodes[begin..].to_vec();
        let keys = self.administration.auth_keys.clone();
        let context = Arc::clone(&self.fleet.context);
        let meter = self.begin_phase();
        let outcomes = run_at_rate(JOINS, self.options.rate, |number, intended| {
            let (node, context) = (Arc::clone(&newcomers[number]), Arc::clone(&context));
            let key = keys[node.person].clone();
            async move {
                node.register(&context, &key).await?;
                let registered = intended.elapsed();
                let asked = Instant::now();
                node.connect(&context, asked);
                let deadline = asked + PATIENCE;
                while node.waited().is_none() && Instant::now() < deadline {
                    sleep_until(Instant::now() + Duration::from_millis(1)).await;
                }
                Ok((registered, node.waited()))
            }
        });
        let outcomes: Vec<_> = outcomes.await.into_iter().collect::<Result<_>>()?;
        let faults = self.enroll_nodes().await?;
        for place in begin..self.fleet.nodes.len() {
            self.roster.node_mut(place).presence = Presence::Online;
        }
        let (mut report, _) = self.settle_phase("joins", &meter, |_| false).await;
        if let Some(registered) = LatencySummary::of(outcomes.iter().map(|(took, _)| *took)) {
            report.figures.insert("ms to register, p50", registered.p50);
            report
                .figures
                .insert("ms to register, the longest", registered.max);
        }
        report.fault_count += faults.len();
        report.faults.extend(faults);
        self.keep(PhaseReport {
            operations: JOINS,
            latency_ms: LatencySummary::of(outcomes.into_iter().filter_map(|(_, waited)| waited)),
            ..report
        });
        Ok(())
    }

    /// Adds a rule from one person to another, then one from one person to all, and takes both back.
    pub async fn change_policy(&mut self) -> Result<()> {
        let from = |to, port| AccessRule {
            from: Party::Person(1),
            to,
            ports: (port, port),
        };
        let before = self.plan.clone();
        let small = before.with(from(Party::Person(2), 9000));
        let large = small.with(from(Party::Everybody, 9002));
        for (phase, plan) in [
            ("policy: two people", small),
            ("policy: one and all", large),
            ("policy: back", before),
        ] {
            self.set_plan(phase, plan).await?;
        }
        Ok(())
    }

    async fn set_plan(&mut self, phase: &str, plan: AccessPlan) -> Result<()> {
        let meter = self.begin_phase();
        self.administration.set_policy(&plan).await?;
        let answered = meter.began.elapsed();
        self.table = plan.table();
        self.plan = plan;
        let (mut report, _) = self.settle_phase(phase, &meter, |_| false).await;
        report
            .figures
            .insert("ms until the answer", answered.as_secs_f64() * 1000.0);
        self.keep(report);
        Ok(())
    }

    /// Ends the keys of nodes, disables and deletes others, one after the other, and suspends a person with all nodes.
    pub async fn revoke(&mut self) -> Result<()> {
        for (phase, change) in [
            ("expire", NodeChange::Expire),
            ("disable", NodeChange::Disable),
            ("delete", NodeChange::Delete),
        ] {
            let present = self.present_places();
            let count = REVOCATIONS.min(present.len() / 20);
            let meter = self.begin_phase();
            let mut revoked = Vec::new();
            for number in 0..count {
                let place = present[(number * 2 + 1) * present.len() / (count * 2)];
                revoked.push(self.revoke_node(place, change).await?);
            }
            self.keep_revocations(phase, &meter, &revoked).await;
        }
        let meter = self.begin_phase();
        let revoked = self.suspend(self.plan.people() - 1).await?;
        self.keep_revocations("suspend", &meter, &[revoked]).await;
        Ok(())
    }

    async fn revoke_node(&mut self, place: usize, change: NodeChange) -> Result<Revocation> {
        let id = self.roster.nodes()[place].id;
        let called = Instant::now();
        self.administration.change_node(id, change).await?;
        let answered = called.elapsed();
        Ok(self.await_revocation(called, answered, &[place]).await)
    }

    async fn suspend(&mut self, person: usize) -> Result<Revocation> {
        let mut places = self.present_places();
        places.retain(|place| self.fleet.nodes[*place].person == person);
        let called = Instant::now();
        self.administration.suspend_person(person).await?;
        let answered = called.elapsed();
        Ok(self.await_revocation(called, answered, &places).await)
    }

    /// Waits until everybody was told that nodes are gone, and lets them go.
    async fn await_revocation(
        &mut self,
        called: Instant,
        answered: Duration,
        places: &[usize],
    ) -> Revocation {
        for place in places {
            self.roster.node_mut(*place).standing = Standing::Revoked;
        }
        self.fleet.wait_for_quiet(Instant::now() + PATIENCE).await;
        let ids: BTreeSet<_> = places
            .iter()
            .map(|place| self.roster.nodes()[*place].id)
            .collect();
        let is_wanted = |heard: &Heard| heard.is_end && ids.contains(&heard.node);
        let (told, _) = self.fleet.open_frames(is_wanted);
        for place in places {
            self.fleet.nodes[*place].disconnect();
        }
        let took = |one: &Told| one.at.saturating_duration_since(called);
        Revocation {
            answered,
            told: told.iter().map(took).collect(),
        }
    }

    async fn keep_revocations(&mut self, phase: &str, meter: &PhaseMeter, revoked: &[Revocation]) {
        let (mut report, _) = self.settle_phase(phase, meter, |_| false).await;
        let last: Vec<_> = revoked.iter().map(Revocation::last).collect();
        let told = revoked.iter().flat_map(|one| one.told.iter().copied());
        for (name, summary) in [
            (
                "ms until the answer",
                LatencySummary::of(revoked.iter().map(|one| one.answered)),
            ),
            ("ms to each peer", LatencySummary::of(told)),
        ] {
            let Some(summary) = summary else { continue };
            report.summaries.insert(name, summary);
        }
        let peers = revoked.iter().map(|one| one.told.len()).max();
        self.keep(PhaseReport {
            operations: revoked.len(),
            seconds: last.iter().sum::<Duration>().as_secs_f64(),
            latency_ms: LatencySummary::of(last),
            nodes_told: peers.unwrap_or_default(),
            ..report
        });
    }
}

/// An end that an administrator has put to nodes.
struct Revocation {
    /// From the call to its answer.
    answered: Duration,
    /// From the call to each peer that was told.
    told: Vec<Duration>,
}

impl Revocation {
    /// Returns the time from the call to the last peer that was told.
    fn last(&self) -> Duration {
        self.told.iter().max().copied().unwrap_or_default()
    }
}
