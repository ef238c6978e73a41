//! Tells the registry that this gateway lives and how far it has applied the logs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bowline_proto::key_registry::v1::{
    RenewLeaseRequest, key_registry_service_client::KeyRegistryServiceClient,
};
use bowline_service_kit::{GrpcChannel, Shutdown, Tasks};
use tokio::sync::watch;

use crate::tailnet::Hub;

/// How often the lease of five seconds is renewed.
const RENEWAL: Duration = Duration::from_secs(1);
/// How soon progress is told: an administrator may be waiting for it.
const PROGRESS: Duration = Duration::from_millis(20);

/// Follows when the lease was renewed last; `None` before the first time.
pub type Renewed = watch::Receiver<Option<Instant>>;

/// Renews the lease of gateway incarnation `gateway` until the process ends.
pub fn start(gateway: String, registry: GrpcChannel, hub: Arc<Hub>, tasks: &Tasks) -> Renewed {
    let (renewed, follow) = watch::channel(None);
    let shutdown = tasks.shutdown().clone();
    tasks.background("lease", run(gateway, registry, hub, renewed, shutdown));
    follow
}

async fn run(
    gateway: String,
    registry: GrpcChannel,
    hub: Arc<Hub>,
    renewed: watch::Sender<Option<Instant>>,
    shutdown: Shutdown,
) {
    let mut client = KeyRegistryServiceClient::new(registry);
    let mut told = Vec::new();
    let mut next = Instant::now();
    loop {
        let applied = hub.applied();
        let leaving =
            shutdown.is_draining() && hub.held().iter().all(|held| held.sessions.len() == 0);
        if applied != told || Instant::now() >= next || leaving {
            let request = RenewLeaseRequest {
                gateway: gateway.clone(),
                applied: applied.clone(),
                leaving,
            };
            match client.renew_lease(request).await {
                Ok(_) => {
                    renewed.send_replace(Some(Instant::now()));
                    told = applied;
                }
                Err(status) => tracing::debug!(%status, "the lease can not be renewed"),
            }
            next = Instant::now() + RENEWAL;
            if leaving {
                return;
            }
        }
        tokio::time::sleep(PROGRESS).await;
    }
}
