//! How far a revocation has come: which gateways have applied it.

use std::{sync::Arc, time::Duration};

use bowline_bus::{Bus, Hint, LogOwner};
use bowline_ids::{Revision, TailnetId};
use bowline_proto::key_registry::v1::{GatewayProgress, GatewayState, Revocation};
use bowline_service_kit::Tasks;
use tokio::{sync::watch, time::Instant};

use crate::{
    KeyRegistry,
    error::RegistryError,
    store::gateways::{self, OwnerLog},
};

/// How long an administrator waits for the gateways.
const REVOCATION_TIMEOUT: Duration = Duration::from_secs(1);
/// How soon progress is looked at again without a word of it: the bus may lose what another replica said.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The news that some gateway has come further, recorded by any replica. Clones share it.
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

impl KeyRegistry {
    /// Waits until every gateway with a live lease has applied a revision of a log, at most a second.
    pub(crate) async fn await_revocation(
        &self,
        log: OwnerLog,
        tailnet_id: u64,
        revision: u64,
    ) -> Result<Revocation, RegistryError> {
        let deadline = Instant::now() + REVOCATION_TIMEOUT;
        let mut news = self.progress.heard.subscribe();
        loop {
            // What is recorded from here on is news.
            news.mark_unchanged();
            let gateways = self.list_progress(log, tailnet_id, revision).await?;
            let is_lagging = |one: &GatewayProgress| one.state() == GatewayState::Lagging;
            let now = Instant::now();
            if !gateways.iter().any(is_lagging) || now >= deadline {
                return Ok(Revocation { revision, gateways });
            }
            let look = deadline.min(now + POLL_INTERVAL);
            // Either way it looks again.
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
