//! The netmap-gateway service as a process of its own.

use std::sync::Arc;

use bowline_bus::Bus;
use bowline_clock::SystemClock;
use bowline_control_wire::DerpMap;
use bowline_netmap_gateway::{Backends, Dependencies, GatewayConfig};
use bowline_portal::{PortalConfig, portal_routes};
use bowline_service_kit::{
    ServiceName, descriptors,
    process::{Process, ProcessError},
};
use tonic::service::Routes;

#[tokio::main]
async fn main() -> Result<(), ProcessError> {
    let mut process = Process::<GatewayConfig>::start()?;
    let bus = Bus::redis(process.config.redis.expose()).await?;
    let backends = Backends {
        identity: process.channel_to(ServiceName::Identity)?,
        identity_for_waits: process.channel_to(ServiceName::Identity)?,
        registry: process.channel_to(ServiceName::KeyRegistry)?,
        compiler: process.channel_to(ServiceName::PolicyCompiler)?,
    };
    let mut config = process.config.service.clone();
    // A quarter of the file descriptors is left for connections to other services.
    let files = descriptors::available_connections() / 4 * 3;
    config.max_connections =
        descriptors::bound_connections("gateway", config.max_connections, files);
    config.check()?;
    let portal = PortalConfig {
        public_url: config.public_url.clone(),
        identity: backends.identity.clone(),
        registry: backends.registry.clone(),
        compiler: backends.compiler.clone(),
    };
    let given = Dependencies {
        backends,
        bus,
        clock: Arc::new(SystemClock),
        tasks: process.tasks.clone(),
        derp_map: DerpMap::default(),
        more_routes: portal_routes(portal)?,
        admin_listen: process.config.admin.listen.take(),
    };
    bowline_netmap_gateway::start(config, given).await?;
    // The gateway has no RPCs of its own: it serves health and reflection.
    process.serve(Routes::default(), &[]).await
}
