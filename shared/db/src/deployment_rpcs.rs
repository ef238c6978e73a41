//! The RPC about a database and the processes that use it, alike for every owner of one.

use bowline_proto::{
    deployment::v1::{
        DatabaseEpoch, DeploymentProcess, DescribeDatabaseRequest, DescribeDatabaseResponse,
    },
    identity, key_registry, policy,
    time::to_timestamp,
};
use chrono::DateTime;
use prost_types::Timestamp;
use tonic::{Request, Response, Status};

use crate::{BegunEpoch, Database, DatabaseError, LiveProcess};

/// Tells operators of a database. Clones share it.
#[derive(Clone, Debug)]
pub struct DeploymentRpcs {
    database: Database,
    to_status: fn(DatabaseError) -> Status,
}

impl DeploymentRpcs {
    /// Tells of a database; `to_status` fails in the words of its owner.
    #[must_use]
    pub fn new(database: Database, to_status: fn(DatabaseError) -> Status) -> Self {
        Self {
            database,
            to_status,
        }
    }

    async fn describe(&self) -> Result<Response<DescribeDatabaseResponse>, Status> {
        let found = async {
            let processes = self.database.list_processes().await?;
            Ok((processes, self.database.list_epochs().await?))
        };
        let (processes, epochs) = found.await.map_err(self.to_status)?;
        Ok(Response::new(DescribeDatabaseResponse {
            schema_level: self.database.schema_level(),
            processes: processes.into_iter().map(describe_process).collect(),
            epochs: epochs.into_iter().map(describe_epoch).collect(),
        }))
    }
}

fn describe_process(process: LiveProcess) -> DeploymentProcess {
    let version = process.version;
    DeploymentProcess {
        service: process.service,
        id: version.id,
        release: version.release,
        schema_level: version.level,
        seen_at: Some(to_timestamp(process.seen_at)),
        services_certificate_end: version.ends.services.and_then(from_seconds),
        clients_certificate_end: version.ends.clients.and_then(from_seconds),
    }
}

fn describe_epoch(epoch: BegunEpoch) -> DatabaseEpoch {
    DatabaseEpoch {
        base: epoch.base,
        began_at: Some(to_timestamp(epoch.began_at)),
        reason: epoch.reason,
    }
}

fn from_seconds(seconds: i64) -> Option<Timestamp> {
    DateTime::from_timestamp(seconds, 0).map(to_timestamp)
}

/// Each owner's package declares the same service.
macro_rules! serve_deployment {
    ($($package:ident),*) => {$(
        #[tonic::async_trait]
        impl $package::v1::deployment_service_server::DeploymentService for DeploymentRpcs {
            async fn describe_database(
                &self,
                _: Request<DescribeDatabaseRequest>,
            ) -> Result<Response<DescribeDatabaseResponse>, Status> {
                self.describe().await
            }
        }
    )*};
}

serve_deployment!(identity, key_registry, policy);
