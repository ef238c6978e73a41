//! The netmap-gateway service as a process of its own.

use std::sync::Arc;

use axum::Router;
use bowline_bus::Bus;
use bowline_clock::SystemClock;
use bowline_control_wire::DerpMap;
use bowline_netmap_gateway::{Backends, Dependencies, GatewayConfig};
use bowline_service_kit::{
    ServiceName,
    process::{Process, ProcessError},
};

#[tokio::main]
async fn main() -> Result<(), ProcessError> {
    let process = Process::<GatewayConfig>::start()?;
    let bus = Bus::redis(process.config.redis.expose()).await?;
    let backends = Backends {
        identity: process.channel(ServiceName::Identity)?,
        registry: process.channel(ServiceName::KeyRegistry)?,
        compiler: process.channel(ServiceName::PolicyCompiler)?,
    };
    let config = process.config.service.clone();
    let derp_map = match &config.derp_map_file {
        Some(path) => serde_json::from_slice(&std::fs::read(path)?)?,
        None => DerpMap::default(),
    };
    let given = Dependencies {
        backends,
        bus,
        clock: Arc::new(SystemClock),
        tasks: process.tasks.clone(),
        derp_map,
        more_routes: Router::new(),
    };
    bowline_netmap_gateway::start(config, given).await?;
    process.serve(None).await
}
