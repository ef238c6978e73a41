//! How far a revocation has come: which gateways have applied it.

use std::{sync::Arc, time::Duration};

use bowline_bus::{Bus, Hint, LogOwner};
use bowline_db::ChangeLog;
use bowline_ids::{Revision, TailnetId};
use bowline_proto::key_registry::v1::{GatewayProgress, GatewayState, Revocation};
use bowline_service_kit::Tasks;
use tokio::{sync::watch, time::Instant};

use crate::{
    error::RegistryError,
    store::gateways::{self, OwnerLog},
};

/// How long an administrator waits for the gateways.
const REVOCATION_TIMEOUT: Duration = Duration::from_secs(1);
/// How often progress is read again without a signal: the bus may lose that of another replica.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Signals that some replica has recorded the progress of a gateway. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct ProgressSignal {
    heard: Arc<watch::Sender<u64>>,
    bus: Bus,
}

impl ProgressSignal {
    pub(crate) fn new(bus: Bus) -> Self {
        Self {
            heard: Arc::new(watch::channel(0).0),
            bus,
        }
    }

    /// Starts to listen to the other replicas.
    pub(crate) fn start_listening(&self, tasks: &Tasks) {
        let (heard, bus) = (Arc::clone(&self.heard), self.bus.clone());
        tasks.spawn_background("gateway-progress", async move {
            let mut subscription = bus.subscribe(&[LogOwner::NetmapGateway]);
            while subscription.next().await.is_some() {
                heard.send_modify(|count| *count += 1);
            }
        });
    }

    /// Says that progress is recorded, that of a tailnet and maybe others.
    pub(crate) fn announce_progress(&self, tailnet: TailnetId, revision: u64) {
        self.heard.send_modify(|count| *count += 1);
        let hint = Hint {
            tailnet,
            revision: Revision::new(revision),
            soft_revision: 0,
        };
        self.bus.publish(LogOwner::NetmapGateway, hint);
    }
}

/// Says how far revocations have come. Clones share it.
#[derive(Clone, Debug)]
pub struct Revocations {
    log: ChangeLog,
    progress: ProgressSignal,
}

impl Revocations {
    pub(crate) fn new(log: ChangeLog, progress: ProgressSignal) -> Self {
        Self { log, progress }
    }

    /// Waits until every gateway with a live lease has applied a revision of a log, at most a second.
    pub(crate) async fn await_gateways(
        &self,
        log: OwnerLog,
        tailnet: TailnetId,
        revision: u64,
    ) -> Result<Revocation, RegistryError> {
        let deadline = Instant::now() + REVOCATION_TIMEOUT;
        let mut news = self.progress.heard.subscribe();
        loop {
            // A signal from here on means that it is to be read again.
            news.mark_unchanged();
            let gateways = self.list_progress(log, tailnet.get(), revision).await?;
            let is_lagging = |one: &GatewayProgress| one.state() == GatewayState::Lagging;
            let now = Instant::now();
            if !gateways.iter().any(is_lagging) || now >= deadline {
                return Ok(Revocation { revision, gateways });
            }
            let look = deadline.min(now + POLL_INTERVAL);
            // With a signal or without, it reads again.
            drop(tokio::time::timeout_at(look, news.changed()).await);
        }
    }

    async fn list_progress(
        &self,
        log: OwnerLog,
        tailnet_id: u64,
        revision: u64,
    ) -> Result<Vec<GatewayProgress>, RegistryError> {
        let now = self.log.database().now().await?;
        let rows = gateways::list_serving(self.log.database().reader(), log, tailnet_id).await?;
        let fleet: Vec<_> = rows.iter().map(|row| row.incarnation.clone()).collect();
        let progress = rows.iter().filter_map(|row| {
            let state = row
                .incarnation
                .gateway_state(row.applied, revision, &fleet, now)?;
            Some(GatewayProgress {
                gateway: row.incarnation.gateway.clone(),
                state: state.into(),
            })
        });
        Ok(progress.collect())
    }
}
