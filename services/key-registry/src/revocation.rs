//! How far a revocation has come: which gateways have applied it.

use std::time::Duration;

use bowline_db::to_micros;
use bowline_proto::key_registry::v1::{GatewayProgress, GatewayState, Revocation};
use tokio::time::Instant;

use crate::{
    KeyRegistry,
    error::RegistryError,
    store::gateways::{self, Log},
};

/// How long an administrator waits for the gateways.
const WAIT: Duration = Duration::from_secs(1);
/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(15);

impl KeyRegistry {
    /// Waits until every gateway with a live lease has applied a revision of a log, at most a second.
    pub(crate) async fn revocation(
        &self,
        log: Log,
        tailnet_id: u64,
        revision: u64,
    ) -> Result<Revocation, RegistryError> {
        let deadline = Instant::now() + WAIT;
        loop {
            let now = to_micros(self.log.database().now().await?);
            let rows = gateways::serving(self.log.database().reader(), log, tailnet_id).await?;
            let gateways: Vec<_> = rows
                .into_iter()
                .map(|row| {
                    // One that does not serve the tailnet learns the state from its first snapshot.
                    let applied = row.revision.is_none_or(|applied| applied >= revision);
                    let state = match (row.expires_at > now, applied) {
                        (true, true) => GatewayState::Applied,
                        (true, false) => GatewayState::Lagging,
                        (false, _) => GatewayState::Stale,
                    };
                    GatewayProgress {
                        gateway: row.gateway,
                        state: state.into(),
                    }
                })
                .collect();
            let lagging = gateways
                .iter()
                .any(|progress| progress.state() == GatewayState::Lagging);
            if !lagging || Instant::now() >= deadline {
                return Ok(Revocation { revision, gateways });
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}
