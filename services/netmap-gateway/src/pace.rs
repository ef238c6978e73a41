//! Limits how often a node's reports are passed on: each is sent to every peer of the node, and written by the
//! registry.
//!
//! A burst passes at once. After it one report a second passes: the newest, with what earlier ones said of the host.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bowline_ids::{NodeId, TailnetId};
use bowline_proto::key_registry::v1::ClientReport;
use bowline_service_kit::{
    Tasks,
    rate_limit::{RateLimit, TokenBuckets},
};
use parking_lot::{Mutex, MutexGuard};

use crate::{reporter::Reporter, session::merge_reports, tailnet::Tailnet};

/// How many reports of a node pass at once, and how often one passes after that.
const LIMIT: RateLimit = RateLimit::new(10, Duration::from_secs(1));
/// For how many nodes recent reports are counted.
const NODES: usize = 100_000;

type PacedNode = (TailnetId, NodeId);

/// Passes reports on, each node's at its pace. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReportPace {
    waiting: Arc<Mutex<DelayedValues<PacedReport>>>,
    reporter: Reporter,
    tasks: Tasks,
}

#[derive(Debug)]
struct PacedReport {
    tailnet: Arc<Tailnet>,
    node_key: Vec<u8>,
    report: ClientReport,
}

impl ReportPace {
    /// Returns a pace at which nothing waits yet.
    pub fn new(reporter: Reporter, tasks: Tasks) -> Self {
        Self {
            waiting: Arc::default(),
            reporter,
            tasks,
        }
    }

    /// Accepts what a client sent; it is passed on now or soon.
    pub fn accept_report(
        &self,
        tailnet: &Arc<Tailnet>,
        node: NodeId,
        node_key: &[u8],
        report: ClientReport,
    ) {
        let sent = PacedReport {
            tailnet: Arc::clone(tailnet),
            node_key: node_key.to_vec(),
            report,
        };
        let key = (tailnet.id, node);
        let offered = self.waiting().offer(
            key,
            sent,
            tokio::time::Instant::now().into_std(),
            |sent, earlier| PacedReport {
                report: merge_reports(sent.report, Some(earlier.report)),
                ..sent
            },
        );
        match offered {
            PaceDecision::Pass(sent) => self.pass_on(node, &sent),
            PaceDecision::Joined => {}
            PaceDecision::Wait(wait) => {
                let pace = self.clone();
                self.tasks.spawn_background("pace-report", async move {
                    tokio::time::sleep(wait).await;
                    let due = pace
                        .waiting()
                        .take(key, tokio::time::Instant::now().into_std());
                    if let Some(sent) = due {
                        pace.pass_on(node, &sent);
                    }
                });
            }
        }
    }

    /// Passes on everything that waits, because the gateway ends.
    pub fn pass_all_on(&self) {
        let all = std::mem::take(&mut self.waiting().waiting);
        for ((_, node), sent) in all {
            self.pass_on(node, &sent);
        }
    }

    fn pass_on(&self, node: NodeId, sent: &PacedReport) {
        let report = sent.report.clone();
        self.reporter
            .report_client(&sent.tailnet, node, &sent.node_key, report);
    }

    fn waiting(&self) -> MutexGuard<'_, DelayedValues<PacedReport>> {
        self.waiting.lock()
    }
}

/// What waits for its node's next turn.
#[derive(Debug)]
struct DelayedValues<T> {
    buckets: TokenBuckets<PacedNode>,
    waiting: BTreeMap<PacedNode, T>,
}

/// What becomes of a report.
#[derive(Debug, PartialEq, Eq)]
enum PaceDecision<T> {
    /// It passes at once.
    Pass(T),
    /// It is due after this time.
    Wait(Duration),
    /// It was merged into one that waits already.
    Joined,
}

impl<T> Default for DelayedValues<T> {
    fn default() -> Self {
        Self {
            buckets: TokenBuckets::new(LIMIT, NODES),
            waiting: BTreeMap::new(),
        }
    }
}

impl<T> DelayedValues<T> {
    fn offer(
        &mut self,
        key: PacedNode,
        sent: T,
        now: Instant,
        join: impl FnOnce(T, T) -> T,
    ) -> PaceDecision<T> {
        if let Some(earlier) = self.waiting.remove(&key) {
            self.waiting.insert(key, join(sent, earlier));
            return PaceDecision::Joined;
        }
        match self.buckets.take_token(key, now) {
            Ok(()) => PaceDecision::Pass(sent),
            Err(wait) => {
                self.waiting.insert(key, sent);
                PaceDecision::Wait(wait)
            }
        }
    }

    /// Takes what waited for a key and is due now.
    fn take(&mut self, key: PacedNode, now: Instant) -> Option<T> {
        // Spends the token that it has waited for.
        self.buckets.take_token(key, now).ok();
        self.waiting.remove(&key)
    }
}

#[cfg(test)]
mod tests;
