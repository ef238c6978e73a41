//! Tells the registry that this gateway lives and how far it has applied the logs.
//!
//! The two are sent separately. A lease is one row, and renewing it waits for nothing. Progress is sent in parts; what
//! the registry has accepted is not sent again.

mod slot;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bowline_proto::{
    changes::v1::Head,
    key_registry::v1::{
        RenewLeaseRequest, ReportProgressRequest, TailnetProgress,
        key_registry_service_client::KeyRegistryServiceClient,
    },
};
use bowline_service_kit::{GrpcChannel, Tasks};
use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request};

pub use slot::lease_slot;

use crate::{control_keys::CurrentControlKeys, reporter::Reporter, tailnet::TailnetHub};

/// How long a lease lives.
const LEASE: Duration = Duration::from_secs(5);
/// How often it is renewed.
const RENEWAL: Duration = Duration::from_secs(1);
/// How soon it is tried again after a failure.
const RETRY: Duration = Duration::from_millis(250);
/// How long one call may take: if one replica of the registry hangs, there is time to ask another before the lease
/// ends.
const CALL_TIMEOUT: Duration = Duration::from_millis(1500);
/// The least time between two reports of progress: the first after a while is sent at once, because an administrator
/// may be waiting for it.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(20);
/// How many tailnets one report of progress holds.
const MOST_TAILNETS: usize = 1000;

/// Receives when the lease was renewed last; `None` before the first time.
pub type LeaseRenewals = watch::Receiver<Option<Instant>>;

/// What a gateway tells of itself with each renewal.
#[derive(Clone, Debug)]
pub struct LeaseFacts {
    /// The incarnation.
    pub gateway: String,
    /// Names the address it listens on.
    pub slot: String,
    /// How long it serves clients without the registry.
    pub max_staleness: Duration,
    /// Its control keys.
    pub keys: Arc<CurrentControlKeys>,
}

/// The lease of one gateway incarnation.
#[derive(Clone, Debug)]
pub struct Lease {
    facts: LeaseFacts,
    client: KeyRegistryServiceClient<GrpcChannel>,
}

impl Lease {
    /// Describes a lease that is not yet renewed.
    pub fn new(facts: LeaseFacts, registry: GrpcChannel) -> Self {
        Self {
            facts,
            client: KeyRegistryServiceClient::new(registry),
        }
    }

    /// Renews the lease until it is given up because of `leaving`; the returned receiver closes then.
    pub fn keep_renewed(
        self,
        hub: Arc<TailnetHub>,
        reporter: Reporter,
        leaving: CancellationToken,
        tasks: &Tasks,
    ) -> LeaseRenewals {
        let (renewed, follow) = watch::channel(None);
        let telling = self.clone().keep_reporting_progress(Arc::clone(&hub));
        let stale = end_stale_sessions(Arc::clone(&hub), follow.clone(), self.facts.max_staleness);
        tasks.spawn_background("lease", async move {
            tokio::select! {
                () = self.renew_always(&hub, &reporter, &renewed) => {}
                () = telling => {}
                () = stale => {}
                () = leaving.cancelled() => {}
            }
            self.give_up().await;
        });
        follow
    }

    async fn renew_always(
        &self,
        hub: &TailnetHub,
        reporter: &Reporter,
        renewed: &watch::Sender<Option<Instant>>,
    ) {
        loop {
            let pause = match self.renew().await {
                Ok(lapsed) => {
                    renewed.send_replace(Some(time::Instant::now().into_std()));
                    if lapsed {
                        let held = hub.held_tailnets();
                        hub.progress_queue()
                            .report_again(held.iter().map(|tailnet| tailnet.id));
                        reporter.report_all_sessions();
                    }
                    RENEWAL
                }
                Err(status) => {
                    tracing::debug!(%status, "the lease can not be renewed");
                    RETRY
                }
            };
            time::sleep(pause).await;
        }
    }

    /// Renews the lease; says whether it was over.
    async fn renew(&self) -> Result<bool, tonic::Status> {
        let mut request = Request::new(RenewLeaseRequest {
            gateway: self.facts.gateway.clone(),
            slot: self.facts.slot.clone(),
            max_staleness_seconds: Some(self.facts.max_staleness.as_secs()),
            control_keys: Some(self.facts.keys.report()),
            ..RenewLeaseRequest::default()
        });
        request.set_timeout(CALL_TIMEOUT);
        let answer = self.client.clone().renew_lease(request).await?;
        Ok(answer.into_inner().lapsed)
    }

    async fn keep_reporting_progress(self, hub: Arc<TailnetHub>) {
        loop {
            hub.progress_queue().wait_for_advance().await;
            let next = time::Instant::now() + PROGRESS_INTERVAL;
            let part = hub.progress_queue().take_part(MOST_TAILNETS);
            let mut request = ReportProgressRequest {
                gateway: self.facts.gateway.clone(),
                complete: part.is_last,
                ..ReportProgressRequest::default()
            };
            for tailnet in &part.tailnets {
                match hub.progress(*tailnet) {
                    Some(progress) => request.progress.push(TailnetProgress {
                        tailnet_id: tailnet.get(),
                        registry_revision: progress.registry_revision,
                        identity_revision: progress.identity_revision,
                    }),
                    None => request.dropped.push(tailnet.get()),
                }
            }
            if let Err(status) = self.report_progress(request).await {
                tracing::debug!(%status, "progress can not be told");
                hub.progress_queue().report_again(part.tailnets);
                time::sleep(RETRY).await;
            }
            time::sleep_until(next).await;
        }
    }

    async fn report_progress(&self, report: ReportProgressRequest) -> Result<(), tonic::Status> {
        let mut request = Request::new(report.clone());
        request.set_timeout(CALL_TIMEOUT);
        let Err(status) = self.client.clone().report_progress(request).await else {
            return Ok(());
        };
        if status.code() != Code::Unimplemented {
            return Err(status);
        }
        // A registry of an earlier release accepts progress with the lease.
        let heads = |revision: fn(&TailnetProgress) -> u64| {
            let head = |one: &TailnetProgress| Head {
                tailnet_id: one.tailnet_id,
                revision: revision(one),
                soft_revision: 0,
            };
            report.progress.iter().map(head).collect()
        };
        let mut request = Request::new(RenewLeaseRequest {
            gateway: self.facts.gateway.clone(),
            applied: heads(|one| one.registry_revision),
            applied_identity: heads(|one| one.identity_revision),
            dropped: report.dropped.clone(),
            ..RenewLeaseRequest::default()
        });
        request.set_timeout(CALL_TIMEOUT);
        self.client.clone().renew_lease(request).await.map(drop)
    }

    /// Gives the lease up: nobody waits for this gateway any more.
    async fn give_up(&self) {
        let mut request = Request::new(RenewLeaseRequest {
            gateway: self.facts.gateway.clone(),
            leaving: true,
            ..RenewLeaseRequest::default()
        });
        request.set_timeout(CALL_TIMEOUT);
        if let Err(status) = self.client.clone().renew_lease(request).await {
            tracing::debug!(%status, "the lease can not be given up: it ends by itself");
        }
    }
}

/// Ends the sessions of a gateway that has not renewed its lease for too long: its clients may learn from another what
/// has changed.
async fn end_stale_sessions(
    hub: Arc<TailnetHub>,
    mut renewed: LeaseRenewals,
    max_staleness: Duration,
) {
    // While the lease lives nothing is stale.
    let max_staleness = max_staleness.max(LEASE);
    loop {
        let last = *renewed.borrow_and_update();
        let is_over = async {
            match last {
                Some(last) => time::sleep_until((last + max_staleness).into()).await,
                // The registry was never reached, so no session has begun.
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = is_over => {}
            changed = renewed.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        }
        tracing::warn!(
            "the registry was not reached for too long: map sessions end, and none begins until it is"
        );
        for tailnet in hub.held_tailnets() {
            tailnet.sessions.end_all();
        }
        if renewed.changed().await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
