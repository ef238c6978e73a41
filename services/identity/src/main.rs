//! The identity service as a process of its own.

use std::sync::Arc;

use bowline_audit_heads::HeadExporter;
use bowline_bus::Bus;
use bowline_clock::SystemClock;
use bowline_identity::{Identity, IdentityConfig, TrailServices};
use bowline_service_kit::{
    Caller, GrpcChannel, ServiceName,
    process::{Process, ProcessError},
};
use tonic::service::Routes;

#[tokio::main]
async fn main() -> Result<(), ProcessError> {
    let mut process = Process::<IdentityConfig>::start()?;
    process.config.audit.read_signing_key().await?;
    let bus = Bus::redis(process.config.redis.expose()).await?;
    let clock = Arc::new(SystemClock);
    let (url, config) = (process.database_url()?, &process.config.service);
    let others = [
        &process.config.key_registry,
        &process.config.policy_compiler,
    ];
    let trails = match others.iter().any(|addresses| addresses.is_empty()) {
        true => None,
        false => Some(TrailServices {
            registry: process.channel_to(ServiceName::KeyRegistry)?,
            compiler: process.channel_to(ServiceName::PolicyCompiler)?,
        }),
    };
    let identity = Identity::start(url, config, trails, bus, clock, &process.tasks).await?;
    let callers = process.callers().clone();
    identity
        .database()
        .keep_schema_level(ServiceName::Identity, callers, &process.tasks);
    let (database, audit) = (identity.database().clone(), &process.config.audit);
    if let Some(exporter) = HeadExporter::new(database, ServiceName::Identity, audit)? {
        process
            .tasks
            .spawn_background("export-audit-heads", exporter.run());
    }
    let mut routes = Routes::builder();
    identity.add_to(&mut routes);
    let routes = routes.routes();
    let own = GrpcChannel::in_process(routes.clone(), Caller::Service(ServiceName::Identity));
    process
        .with_tokens_of(own)
        .with_database_check(identity.database().availability_check())
        .serve(routes, bowline_proto::DESCRIPTOR_SET)
        .await
}
