//! The policy-compiler service as a process of its own.

use std::sync::Arc;

use bowline_audit_heads::HeadExporter;
use bowline_bus::Bus;
use bowline_clock::SystemClock;
use bowline_policy_compiler::{FollowedServices, PolicyCompiler};
use bowline_service_kit::{
    ServiceName,
    process::{NoSettings, Process, ProcessError},
};
use tonic::service::Routes;

#[tokio::main]
async fn main() -> Result<(), ProcessError> {
    let mut process = Process::<NoSettings>::start()?;
    process.config.audit.read_signing_key().await?;
    let bus = Bus::redis(process.config.redis.expose()).await?;
    let clock = Arc::new(SystemClock);
    let followed = FollowedServices {
        identity: process.channel_to(ServiceName::Identity)?,
        registry: process.channel_to(ServiceName::KeyRegistry)?,
    };
    let url = process.database_url()?;
    let compiler = PolicyCompiler::start(url, followed, bus, clock, &process.tasks).await?;
    let callers = process.callers().clone();
    compiler
        .database()
        .keep_schema_level(ServiceName::PolicyCompiler, callers, &process.tasks);
    let (database, audit) = (compiler.database().clone(), &process.config.audit);
    if let Some(exporter) = HeadExporter::new(database, ServiceName::PolicyCompiler, audit)? {
        process
            .tasks
            .spawn_background("export-audit-heads", exporter.run());
    }
    let mut routes = Routes::builder();
    compiler.add_to(&mut routes);
    let identity = process.channel_to(ServiceName::Identity)?;
    process
        .with_tokens_of(identity)
        .with_database_check(compiler.database().availability_check())
        .serve(routes.routes(), bowline_proto::DESCRIPTOR_SET)
        .await
}
