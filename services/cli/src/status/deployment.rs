//! The processes, gateways and databases of a deployment.

use std::collections::BTreeMap;

use bowline_proto::{
    deployment::v1::{
        DatabaseEpoch, DeploymentProcess, DescribeDatabaseRequest, DescribeDatabaseResponse,
    },
    identity, key_registry,
    key_registry::v1::{
        DescribedGateway, LeaseState, ListGatewaysRequest, node_service_client::NodeServiceClient,
    },
    policy,
};
use bowline_service_kit::ServiceName;
use serde::Serialize;

use super::control_keys::{GatewayKey, KeySpread};
use crate::{
    connection::ConnectionArgs,
    failure::Failure,
    output::{Row, format_table},
    time::time_text,
};

/// The parts of a deployment; what can not be asked is named with the reason, and hides nothing else.
#[derive(Debug, Serialize)]
pub struct DeploymentStatus {
    processes: Vec<ProcessStatus>,
    gateways: Vec<GatewayStatus>,
    databases: Vec<DatabaseStatus>,
}

/// A process.
#[derive(Debug, Serialize)]
struct ProcessStatus {
    service: String,
    id: String,
    release: String,
    schema_level: u32,
    seen_at: Option<String>,
    services_certificate_ends_at: Option<String>,
    clients_certificate_ends_at: Option<String>,
}

impl From<DeploymentProcess> for ProcessStatus {
    fn from(process: DeploymentProcess) -> Self {
        Self {
            service: process.service,
            id: process.id,
            release: process.release,
            schema_level: process.schema_level,
            seen_at: time_text(process.seen_at),
            services_certificate_ends_at: time_text(process.services_certificate_end),
            clients_certificate_ends_at: time_text(process.clients_certificate_end),
        }
    }
}

impl Row for ProcessStatus {
    const HEADS: &'static [&'static str] = &[
        "process",
        "id",
        "release",
        "level",
        "seen",
        "certificate ends",
        "clients' certificate ends",
    ];
    const RARE: &'static [&'static str] = &["certificate ends", "clients' certificate ends"];

    fn table_cells(&self) -> Vec<String> {
        let time = |text: &Option<String>| text.clone().unwrap_or_default();
        let release = match &*self.release {
            "" => "before 0.2.0",
            release => release,
        };
        vec![
            self.service.clone(),
            self.id.clone(),
            release.to_owned(),
            self.schema_level.to_string(),
            time(&self.seen_at),
            time(&self.services_certificate_ends_at),
            time(&self.clients_certificate_ends_at),
        ]
    }
}

/// A gateway.
#[derive(Debug, Serialize)]
struct GatewayStatus {
    gateway: String,
    address: String,
    lease: &'static str,
    lease_ends_at: Option<String>,
    known_since: Option<String>,
    tailnets: u64,
    tailnets_behind: u64,
    revisions_behind: u64,
    identity_tailnets_behind: u64,
    identity_revisions_behind: u64,
    /// Absent for a gateway that does not say.
    control_keys: Option<Vec<GatewayKey>>,
}

impl From<DescribedGateway> for GatewayStatus {
    fn from(gateway: DescribedGateway) -> Self {
        let lease = match gateway.lease() {
            LeaseState::Live => "live",
            LeaseState::Stale => "stale",
            LeaseState::Gone => "gone",
            LeaseState::Unspecified => "unknown",
        };
        Self {
            lease,
            lease_ends_at: time_text(gateway.lease_end),
            known_since: time_text(gateway.known_since),
            gateway: gateway.gateway,
            address: gateway.address,
            tailnets: gateway.tailnets,
            tailnets_behind: gateway.tailnets_behind,
            revisions_behind: gateway.revisions_behind,
            identity_tailnets_behind: gateway.identity_tailnets_behind,
            identity_revisions_behind: gateway.identity_revisions_behind,
            control_keys: gateway.control_keys.map(GatewayKey::list),
        }
    }
}

impl Row for GatewayStatus {
    const HEADS: &'static [&'static str] = &[
        "gateway",
        "address",
        "lease",
        "lease ends",
        "tailnets",
        "behind the key registry",
        "behind identity",
    ];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.gateway.clone(),
            self.address.clone(),
            self.lease.to_owned(),
            self.lease_ends_at.clone().unwrap_or_default(),
            self.tailnets.to_string(),
            describe_lag(self.tailnets_behind, self.revisions_behind),
            describe_lag(
                self.identity_tailnets_behind,
                self.identity_revisions_behind,
            ),
        ]
    }
}

fn describe_lag(tailnets: u64, revisions: u64) -> String {
    match tailnets {
        0 => "no".to_owned(),
        1 => format!("{revisions} revisions"),
        _ => format!("{revisions} revisions at most, in {tailnets} tailnets"),
    }
}

/// An owner's database.
#[derive(Debug, Serialize)]
struct DatabaseStatus {
    service: &'static str,
    schema_level: Option<u32>,
    epoch: Option<u64>,
    epoch_began_at: Option<String>,
    epoch_reason: Option<String>,
    /// Why nothing is known of it.
    error: Option<String>,
}

impl DatabaseStatus {
    fn new(service: ServiceName, level: u32, newest: Option<DatabaseEpoch>) -> Self {
        let newest = newest.unwrap_or_default();
        Self {
            service: service.as_str(),
            schema_level: Some(level),
            epoch: Some(newest.base),
            epoch_began_at: time_text(newest.began_at),
            epoch_reason: Some(newest.reason).filter(|reason| !reason.is_empty()),
            error: None,
        }
    }

    fn unknown(service: ServiceName, failure: &Failure) -> Self {
        Self {
            service: service.as_str(),
            schema_level: None,
            epoch: None,
            epoch_began_at: None,
            epoch_reason: None,
            error: Some(failure.to_string()),
        }
    }
}

impl Row for DatabaseStatus {
    const HEADS: &'static [&'static str] = &[
        "database",
        "level",
        "epoch",
        "began",
        "because",
        "can not be asked",
    ];
    const RARE: &'static [&'static str] = &["because", "can not be asked"];

    fn table_cells(&self) -> Vec<String> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let level = self.schema_level.map(|level| level.to_string());
        vec![
            self.service.to_owned(),
            level.unwrap_or_default(),
            self.epoch
                .map(|epoch| epoch.to_string())
                .unwrap_or_default(),
            text(&self.epoch_began_at),
            text(&self.epoch_reason),
            text(&self.error),
        ]
    }
}

impl DeploymentStatus {
    /// Asks each owner.
    pub async fn ask(connection: &ConnectionArgs) -> Self {
        let mut databases = Vec::new();
        let mut processes = BTreeMap::new();
        for service in [
            ServiceName::Identity,
            ServiceName::KeyRegistry,
            ServiceName::PolicyCompiler,
        ] {
            databases.push(match describe_database(connection, service).await {
                Ok(mut answer) => {
                    for process in answer.processes {
                        note_process(&mut processes, process);
                    }
                    DatabaseStatus::new(service, answer.schema_level, answer.epochs.pop())
                }
                Err(failure) => DatabaseStatus::unknown(service, &failure),
            });
        }
        Self {
            processes: processes.into_values().map(ProcessStatus::from).collect(),
            // A registry that does not answer is named above.
            gateways: list_gateways(connection).await.unwrap_or_default(),
            databases,
        }
    }

    /// Returns where each control key is, at the gateways that live.
    fn control_keys(&self) -> Vec<KeySpread> {
        let live = self.gateways.iter().filter(|one| one.lease == "live");
        KeySpread::list(live.map(|one| (&*one.address, one.control_keys.as_deref())))
    }

    /// Returns the tables for people, but for empty ones.
    pub fn tables(&self) -> Vec<String> {
        fn table<R: Row>(rows: &[R]) -> Option<String> {
            (!rows.is_empty()).then(|| format_table(rows))
        }
        let tables = [
            table(&self.processes),
            table(&self.gateways),
            table(&self.control_keys()),
            table(&self.databases),
        ];
        tables.into_iter().flatten().collect()
    }
}

/// Keeps what the owner says that saw a process last.
fn note_process(
    known: &mut BTreeMap<(String, String), DeploymentProcess>,
    process: DeploymentProcess,
) {
    let time = |process: &DeploymentProcess| process.seen_at.map(|at| (at.seconds, at.nanos));
    let key = (process.service.clone(), process.id.clone());
    let is_newer = known
        .get(&key)
        .is_none_or(|other| time(other) < time(&process));
    if is_newer {
        known.insert(key, process);
    }
}

async fn describe_database(
    connection: &ConnectionArgs,
    service: ServiceName,
) -> Result<DescribeDatabaseResponse, Failure> {
    use identity::v1::deployment_service_client::DeploymentServiceClient as IdentityClient;
    use key_registry::v1::deployment_service_client::DeploymentServiceClient as RegistryClient;
    use policy::v1::deployment_service_client::DeploymentServiceClient as CompilerClient;
    let channel = connection.connect_to(service)?;
    let request = DescribeDatabaseRequest {};
    let answer = match service {
        ServiceName::Identity => {
            IdentityClient::new(channel)
                .describe_database(request)
                .await
        }
        ServiceName::KeyRegistry => {
            RegistryClient::new(channel)
                .describe_database(request)
                .await
        }
        _ => {
            CompilerClient::new(channel)
                .describe_database(request)
                .await
        }
    };
    Ok(answer?.into_inner())
}

async fn list_gateways(connection: &ConnectionArgs) -> Result<Vec<GatewayStatus>, Failure> {
    let mut client = NodeServiceClient::new(connection.connect_to_registry()?);
    let answer = client.list_gateways(ListGatewaysRequest {}).await?;
    let gateways = answer.into_inner().gateways;
    Ok(gateways.into_iter().map(GatewayStatus::from).collect())
}
