//! Nodes that an administrator puts an end to.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use tokio::time::Instant;

use crate::{
    administration::NodeChange,
    fleet::Told,
    report::{LatencySummary, PhaseReport},
    roster::Standing,
    run::{PhaseMeter, Run},
    view::Heard,
};

/// How many nodes are revoked one after the other, each way.
const REVOCATIONS: usize = 20;

impl Run {
    /// Puts an end to nodes, one after the other.
    pub(super) async fn revoke(&mut self, phase: &str, change: NodeChange) -> Result<()> {
        let present = self.present_places();
        let count = REVOCATIONS.min(present.len() / 20);
        let meter = self.begin_phase();
        let mut revoked = Vec::new();
        for number in 0..count {
            let place = present[(number * 2 + 1) * present.len() / (count * 2)];
            revoked.push(self.revoke_node(place, change).await?);
        }
        self.keep_revocations(phase, &meter, &revoked).await;
        Ok(())
    }

    /// Suspends the last person, with all nodes.
    pub(super) async fn suspend_last_person(&mut self) -> Result<()> {
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
        let standing = self.administration.standing_after(change);
        let places = [place];
        Ok(self
            .await_revocation(called, answered, &places, standing)
            .await)
    }

    async fn suspend(&mut self, person: usize) -> Result<Revocation> {
        let mut places = self.present_places();
        places.retain(|place| self.fleet.nodes[*place].person == person);
        let called = Instant::now();
        self.administration.suspend_person(person).await?;
        let answered = called.elapsed();
        let standing = Standing::Revoked;
        Ok(self
            .await_revocation(called, answered, &places, standing)
            .await)
    }

    /// Waits until everybody was told that nodes are gone, and lets them go.
    async fn await_revocation(
        &mut self,
        called: Instant,
        answered: Duration,
        places: &[usize],
        standing: Standing,
    ) -> Revocation {
        for place in places {
            self.roster.node_mut(*place).standing = standing;
        }
        self.fleet
            .wait_for_quiet(Instant::now() + self.patience)
            .await;
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
