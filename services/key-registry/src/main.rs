//! The key-registry service as a process of its own.

use std::sync::Arc;

use bowline_audit_heads::HeadExporter;
use bowline_bus::Bus;
use bowline_clock::SystemClock;
use bowline_key_registry::{AskedServices, KeyRegistry, RegistryConfig};
use bowline_service_kit::{
    ServiceName,
    process::{Process, ProcessError},
};
use tonic::service::Routes;

#[tokio::main]
async fn main() -> Result<(), ProcessError> {
    let mut process = Process::<RegistryConfig>::start()?;
    process.config.audit.read_signing_key().await?;
    let bus = Bus::redis(process.config.redis.expose()).await?;
    let clock = Arc::new(SystemClock);
    let services = AskedServices {
        identity: process.channel_to(ServiceName::Identity)?,
        compiler: process.channel_to(ServiceName::PolicyCompiler)?,
    };
    let settings = process.config.service.clone();
    let url = process.database_url()?;
    let registry = KeyRegistry::start(url, settings, services, bus, clock, &process.tasks).await?;
    let callers = process.callers().clone();
    registry
        .database()
        .keep_schema_level(ServiceName::KeyRegistry, callers, &process.tasks);
    let (database, audit) = (registry.database().clone(), &process.config.audit);
    if let Some(exporter) = HeadExporter::new(database, ServiceName::KeyRegistry, audit)? {
        process
            .tasks
            .spawn_background("export-audit-heads", exporter.run());
    }
    let mut routes = Routes::builder();
    registry.add_to(&mut routes);
    let identity = process.channel_to(ServiceName::Identity)?;
    process
        .with_tokens_of(identity)
        .with_database_check(registry.database().availability_check())
        .serve(routes.routes(), bowline_proto::DESCRIPTOR_SET)
        .await
}
