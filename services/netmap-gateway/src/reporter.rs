//! Sends what clients report to the registry, and keeps it until the registry has accepted it.
//!
//! Clients do not repeat themselves, so a report is sent again until it is accepted or its node is gone. Per node
//! only the newest counts: nothing queues up while the registry is away.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bowline_ids::{NodeId, TailnetId};
use bowline_proto::key_registry::v1::{
    ClientReport, NodeReport, Presence, PresenceReport, ReportNodesRequest,
    key_registry_service_client::KeyRegistryServiceClient,
};
use bowline_service_kit::{GrpcChannel, Tasks};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::tailnet::Tailnet;

/// How long reports are gathered.
const GATHER: Duration = Duration::from_millis(5);
/// The most reports in one request, and the most bytes of what they say of hosts.
const BATCH: usize = 1000;
const BATCH_BYTES: usize = 2 << 20;
/// How long to wait after a failure.
const RETRY: Duration = Duration::from_millis(250);

/// Sends reports of this gateway's clients. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reporter(Arc<ReporterInner>);

#[derive(Debug)]
struct ReporterInner {
    gateway: String,
    pending: Mutex<PendingReports>,
    news: Notify,
    /// Notified when the registry has accepted everything.
    idle: Notify,
}

#[derive(Debug, Default)]
struct PendingReports {
    sequence: u64,
    reports: BTreeMap<(TailnetId, NodeId), WaitingReport>,
    /// Whether some are on their way to the registry.
    under_way: bool,
    /// The newest session of each node, with the epoch it was given.
    live: BTreeMap<(TailnetId, NodeId), LiveSession>,
}

#[derive(Debug)]
struct LiveSession {
    tailnet: Arc<Tailnet>,
    node_key: Vec<u8>,
    epoch: watch::Receiver<u64>,
    /// What the client reported last, but for its host, which is large.
    newest: Option<Sent>,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnding {
    /// Its client left, or was replaced.
    Left,
    /// The gateway drains.
    Drain,
    /// Nothing comes through its link any more.
    DeadLink,
}

/// What a client sent, and when.
type Sent = (ClientReport, Instant);

#[derive(Debug)]
struct WaitingReport {
    tailnet: Arc<Tailnet>,
    node_key: Vec<u8>,
    client: Option<Sent>,
    presence: Option<PresenceReport>,
    /// Whether two machines with its key end each other's sessions.
    key_shared: bool,
    /// Receives the epoch that the registry gives to a session which begins.
    epoch: Option<watch::Sender<u64>>,
}

impl Reporter {
    /// Starts to send, as the gateway incarnation `gateway`.
    pub fn start(gateway: String, registry: GrpcChannel, tasks: &Tasks) -> Self {
        let inner = ReporterInner {
            gateway,
            pending: Mutex::default(),
            news: Notify::new(),
            idle: Notify::new(),
        };
        let reporter = Self(Arc::new(inner));
        tasks.spawn_background("report-nodes", reporter.clone().run(registry));
        reporter
    }

    /// Accepts what a client sent; its peers on this gateway see it at once.
    pub fn report_client(
        &self,
        tailnet: &Arc<Tailnet>,
        node: NodeId,
        node_key: &[u8],
        mut report: ClientReport,
    ) {
        let mut pending = self.lock_pending();
        pending.sequence += 1;
        report.sequence = pending.sequence;
        tailnet.show_report(node, report.clone());
        let now = Instant::now();
        if let Some(live) = pending.live.get_mut(&(tailnet.id, node)) {
            live.newest = Some(without_host((report.clone(), now)));
        }
        let waiting = waiting_report(&mut pending.reports, tailnet, node, node_key);
        let before = waiting.client.take();
        waiting.client = newest_report(Some((report, now)), before);
        drop(pending);
        self.0.news.notify_one();
    }

    /// Reports that a session began; its epoch is zero until the registry has given one.
    pub fn report_session_began(
        &self,
        tailnet: &Arc<Tailnet>,
        node: NodeId,
        node_key: &[u8],
    ) -> watch::Receiver<u64> {
        let (sender, epoch) = watch::channel(0);
        let mut pending = self.lock_pending();
        let waiting = waiting_report(&mut pending.reports, tailnet, node, node_key);
        waiting.presence = Some(self.presence_report(0, None));
        waiting.epoch = Some(sender);
        let live = LiveSession {
            tailnet: Arc::clone(tailnet),
            node_key: node_key.to_vec(),
            epoch: epoch.clone(),
            newest: waiting.client.clone().map(without_host),
        };
        pending.live.insert((tailnet.id, node), live);
        drop(pending);
        self.0.news.notify_one();
        epoch
    }

    /// Reports that a session with this epoch ended.
    pub fn report_session_ended(
        &self,
        tailnet: &Arc<Tailnet>,
        node: NodeId,
        node_key: &[u8],
        epoch: u64,
        why: SessionEnding,
    ) {
        let mut pending = self.lock_pending();
        let waiting = waiting_report(&mut pending.reports, tailnet, node, node_key);
        waiting.presence = Some(self.presence_report(epoch, Some(why)));
        waiting.epoch = None;
        pending.live.remove(&(tailnet.id, node));
        drop(pending);
        self.0.news.notify_one();
    }

    /// Reports that two machines with a node's key end each other's sessions.
    pub fn report_shared_key(&self, tailnet: &Arc<Tailnet>, node: NodeId, node_key: &[u8]) {
        let mut pending = self.lock_pending();
        waiting_report(&mut pending.reports, tailnet, node, node_key).key_shared = true;
        drop(pending);
        self.0.news.notify_one();
    }

    /// Reports again which sessions live, and what their clients reported last: the registry may have lost it.
    pub fn report_all_sessions(&self) {
        let mut pending = self.lock_pending();
        let PendingReports { reports, live, .. } = &mut *pending;
        for ((_, node), live) in live.iter() {
            let epoch = *live.epoch.borrow();
            if epoch == 0 {
                continue;
            }
            let waiting = waiting_report(reports, &live.tailnet, *node, &live.node_key);
            if waiting.presence.is_none() {
                waiting.presence = Some(self.presence_report(epoch, None));
            }
            if waiting.client.is_none() {
                waiting.client.clone_from(&live.newest);
            }
        }
        drop(pending);
        self.0.news.notify_one();
    }

    /// Describes a session that lives, or has ended.
    fn presence_report(&self, epoch: u64, ended: Option<SessionEnding>) -> PresenceReport {
        let presence = Presence {
            epoch,
            gateway: self.0.gateway.clone(),
        };
        PresenceReport {
            presence: Some(presence),
            live: ended.is_none(),
            draining: ended == Some(SessionEnding::Drain),
            dead_link: ended == Some(SessionEnding::DeadLink),
        }
    }

    fn lock_pending(&self) -> MutexGuard<'_, PendingReports> {
        self.0.pending.lock()
    }

    /// Waits until the registry has accepted everything, for a drain.
    pub async fn wait_until_flushed(&self) {
        loop {
            let idle = self.0.idle.notified();
            tokio::pin!(idle);
            // Listens before it checks, so that a flush in between is not missed.
            idle.as_mut().enable();
            if self.is_flushed() {
                return;
            }
            idle.await;
        }
    }

    fn is_flushed(&self) -> bool {
        let pending = self.lock_pending();
        pending.reports.is_empty() && !pending.under_way
    }

    async fn run(self, registry: GrpcChannel) {
        let mut client = KeyRegistryServiceClient::new(registry);
        loop {
            self.0.news.notified().await;
            tokio::time::sleep(GATHER).await;
            loop {
                let batch = self.take_batch();
                if batch.is_empty() {
                    self.0.idle.notify_waiters();
                    break;
                }
                let sent = self.send_reports(&mut client, batch).await;
                self.lock_pending().under_way = false;
                if !sent {
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn take_batch(&self) -> BTreeMap<(TailnetId, NodeId), WaitingReport> {
        let mut pending = self.lock_pending();
        let mut bytes = 0;
        let fits = |(_, waiting): &(&(TailnetId, NodeId), &WaitingReport)| {
            let fits = bytes < BATCH_BYTES;
            let client = waiting.client.as_ref();
            let host = client.and_then(|(report, _)| report.host.as_ref());
            bytes += host.map_or(0, |host| host.hostinfo.len());
            fits
        };
        let some = pending.reports.iter().take(BATCH).take_while(fits);
        let keys: Vec<_> = some.map(|(key, _)| *key).collect();
        pending.under_way = !keys.is_empty();
        keys.iter()
            .filter_map(|key| pending.reports.remove_entry(key))
            .collect()
    }

    async fn send_reports(
        &self,
        client: &mut KeyRegistryServiceClient<GrpcChannel>,
        batch: BTreeMap<(TailnetId, NodeId), WaitingReport>,
    ) -> bool {
        let reports = batch
            .iter()
            .map(|((tailnet, node), waiting)| NodeReport {
                tailnet_id: tailnet.get(),
                node_id: node.get(),
                node_key: waiting.node_key.clone(),
                client: waiting.client.as_ref().map(|(report, _)| report.clone()),
                presence: waiting.presence.clone(),
                key_shared: waiting.key_shared,
                age_milliseconds: waiting
                    .client
                    .as_ref()
                    .map_or(0, |(_, sent)| milliseconds_since(*sent)),
            })
            .collect();
        let gateway = self.0.gateway.clone();
        match client
            .report_nodes(ReportNodesRequest { reports, gateway })
            .await
        {
            Ok(answer) => {
                let results = answer.into_inner().results;
                let mut unfinished = BTreeMap::new();
                for ((key, mut waiting), result) in batch.into_iter().zip(results) {
                    if let Some(epoch) = waiting.epoch.take() {
                        epoch.send_replace(result.epoch);
                    }
                    if result.again {
                        waiting.presence = None;
                        unfinished.insert(key, waiting);
                    } else if let Some((report, _)) = waiting.client {
                        let applied_at = result.applied.then_some(result.soft_revision);
                        waiting
                            .tailnet
                            .note_report_accepted(key.1, report.sequence, applied_at);
                    }
                }
                let is_done = unfinished.is_empty();
                self.put_back(unfinished);
                is_done
            }
            Err(status) => {
                tracing::debug!(%status, "reports can not be brought to the registry");
                metrics::counter!("bowline_gateway_report_failures_total").increment(1);
                self.put_back(batch);
                false
            }
        }
    }

    /// Keeps what could not be sent, unless something newer has come.
    fn put_back(&self, batch: BTreeMap<(TailnetId, NodeId), WaitingReport>) {
        let mut pending = self.lock_pending();
        for (key, waiting) in batch {
            match pending.reports.entry(key) {
                std::collections::btree_map::Entry::Vacant(place) => {
                    place.insert(waiting);
                }
                std::collections::btree_map::Entry::Occupied(mut newer) => {
                    let newer = newer.get_mut();
                    newer.client = newest_report(newer.client.take(), waiting.client);
                    newer.key_shared |= waiting.key_shared;
                    if newer.presence.is_none() {
                        newer.presence = waiting.presence;
                        newer.epoch = waiting.epoch;
                    }
                }
            }
        }
    }
}

/// Returns the later of two reports, with what the earlier said of the host where the later says nothing of it.
fn newest_report(later: Option<Sent>, earlier: Option<Sent>) -> Option<Sent> {
    let Some((mut report, sent)) = later else {
        return earlier;
    };
    report.host = report.host.or_else(|| earlier?.0.host);
    Some((report, sent))
}

/// Leaves out what a report says of the host, which is large.
fn without_host((mut report, sent): Sent) -> Sent {
    report.host = None;
    (report, sent)
}

fn milliseconds_since(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn waiting_report<'p>(
    reports: &'p mut BTreeMap<(TailnetId, NodeId), WaitingReport>,
    tailnet: &Arc<Tailnet>,
    node: NodeId,
    node_key: &[u8],
) -> &'p mut WaitingReport {
    let waiting = reports
        .entry((tailnet.id, node))
        .or_insert_with(|| WaitingReport {
            tailnet: Arc::clone(tailnet),
            node_key: Vec::new(),
            client: None,
            presence: None,
            key_shared: false,
            epoch: None,
        });
    waiting.node_key = node_key.to_vec();
    waiting
}

#[cfg(test)]
mod tests;
