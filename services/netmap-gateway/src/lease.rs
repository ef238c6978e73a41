//! Tells the registry that this gateway lives and how far it has applied the logs.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bowline_ids::TailnetId;
use bowline_proto::{
    changes::v1::Head,
    key_registry::v1::{RenewLeaseRequest, key_registry_service_client::KeyRegistryServiceClient},
};
use bowline_service_kit::{GrpcChannel, Tasks};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use crate::{
    reporter::Reporter,
    tailnet::{Hub, Progress},
};

/// How often the lease of five seconds is renewed.
const RENEWAL: Duration = Duration::from_secs(1);
/// How long one renewal may take: after a registry that hangs there is time for another.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How soon progress is told: an administrator may be waiting for it.
const PROGRESS: Duration = Duration::from_millis(20);

/// Follows when the lease was renewed last; `None` before the first time.
pub type Renewed = watch::Receiver<Option<Instant>>;

/// What was applied of each tailnet's logs.
type Applied = BTreeMap<TailnetId, Progress>;

/// The lease of one gateway incarnation.
#[derive(Debug)]
pub struct Lease {
    gateway: String,
    client: KeyRegistryServiceClient<GrpcChannel>,
    told: Applied,
}

impl Lease {
    /// Returns the lease of gateway incarnation `gateway`, not yet renewed.
    pub fn new(gateway: String, registry: GrpcChannel) -> Self {
        Self {
            gateway,
            client: KeyRegistryServiceClient::new(registry),
            told: Applied::new(),
        }
    }

    /// Renews the lease until it is given up because of `leaving`; what is returned ends then.
    pub fn keep(
        mut self,
        hub: Arc<Hub>,
        reporter: Reporter,
        leaving: CancellationToken,
        tasks: &Tasks,
    ) -> Renewed {
        let (renewed, follow) = watch::channel(None);
        tasks.background("lease", async move {
            tokio::select! {
                () = self.renew_always(&hub, &reporter, &renewed) => {}
                () = leaving.cancelled() => {}
            }
            self.leave().await;
        });
        follow
    }

    async fn renew_always(
        &mut self,
        hub: &Hub,
        reporter: &Reporter,
        renewed: &watch::Sender<Option<Instant>>,
    ) {
        let mut next = Instant::now();
        loop {
            let applied = hub.applied();
            if applied != self.told || Instant::now() >= next {
                match self.renew(applied).await {
                    Ok(lapsed) => {
                        renewed.send_replace(Some(Instant::now()));
                        if lapsed {
                            self.told.clear();
                            reporter.again();
                        }
                    }
                    Err(status) => tracing::debug!(%status, "the lease can not be renewed"),
                }
                next = Instant::now() + RENEWAL;
            }
            tokio::time::sleep(PROGRESS).await;
        }
    }

    /// Renews the lease, telling what has changed; says whether it was over.
    async fn renew(&mut self, applied: Applied) -> Result<bool, tonic::Status> {
        let changed = |revision: fn(&Progress) -> u64| {
            let is_told = |id: &TailnetId, now: &Progress| {
                self.told
                    .get(id)
                    .is_some_and(|told| revision(told) == revision(now))
            };
            let heads = applied.iter().filter(|(id, now)| !is_told(id, now));
            heads
                .map(|(id, now)| Head {
                    tailnet_id: id.get(),
                    revision: revision(now),
                    soft_revision: 0,
                })
                .collect()
        };
        let dropped = self.told.keys().filter(|id| !applied.contains_key(id));
        let mut request = Request::new(RenewLeaseRequest {
            gateway: self.gateway.clone(),
            applied: changed(|progress| progress.registry_revision),
            applied_identity: changed(|progress| progress.identity_revision),
            dropped: dropped.map(|id| id.get()).collect(),
            leaving: false,
        });
        request.set_timeout(PATIENCE);
        let answer = self.client.renew_lease(request).await?.into_inner();
        self.told = applied;
        Ok(answer.lapsed)
    }

    /// Gives the lease up: nobody waits for this gateway any more.
    async fn leave(&mut self) {
        let mut request = Request::new(RenewLeaseRequest {
            gateway: self.gateway.clone(),
            leaving: true,
            ..RenewLeaseRequest::default()
        });
        request.set_timeout(PATIENCE);
        if let Err(status) = self.client.renew_lease(request).await {
            tracing::debug!(%status, "the lease can not be given up: it ends by itself");
        }
    }
}
