//! What happens to one node, or to the policy.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use tokio::time::{Instant, sleep_until};

use crate::{
    access_plan::{AccessPlan, AccessRule, Party},
    pace::run_at_rate,
    report::{LatencySummary, PhaseReport},
    roster::{Presence, Standing},
    run::{PATIENCE, Run},
};

/// How many nodes join one after the other.
const JOINS: usize = 10;

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

    /// Ends the key of one node, and deletes another.
    pub async fn revoke(&mut self) -> Result<()> {
        for (phase, is_deletion) in [("expire", false), ("delete", true)] {
            let places = self.present_places();
            let place = places[places.len() / 3];
            let id = self.roster.nodes()[place].id;
            let administration = self.administration.clone();
            let meter = self.begin_phase();
            match is_deletion {
                true => administration.delete(id).await?,
                false => administration.expire(id).await?,
            }
            let answered = meter.began.elapsed();
            self.roster.node_mut(place).standing = Standing::Revoked;
            let (mut report, told) = self
                .settle_phase(phase, &meter, |heard| heard.node == id && heard.is_end)
                .await;
            self.fleet.nodes[place].disconnect();
            let took: Vec<_> = told
                .iter()
                .map(|one| one.at.saturating_duration_since(meter.began))
                .collect();
            let last = took.iter().max().copied().unwrap_or_default();
            let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
            report
                .figures
                .insert("ms until the answer", milliseconds(answered));
            let after = last.saturating_sub(answered);
            report
                .figures
                .insert("ms from the answer to the last peer", milliseconds(after));
            self.keep(PhaseReport {
                seconds: last.as_secs_f64(),
                latency_ms: LatencySummary::of(took),
                ..report
            });
        }
        Ok(())
    }
}
