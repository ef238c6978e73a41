//! The service put together.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bowline_bus::{Bus, Event, Owner};
use bowline_change_feed::{Feed, Identity, Registry};
use bowline_clock::SharedClock;
use bowline_db::{ChangeLog, Database, DatabaseOptions, Migrations, OpenError, migrations};
use bowline_ids::TailnetId;
use bowline_policy::Policy;
use bowline_proto::policy::v1::{
    policy_compiler_service_server::PolicyCompilerServiceServer,
    policy_service_server::PolicyServiceServer,
};
use bowline_service_kit::{GrpcChannel, Tasks};
use tokio::sync::watch;
use tonic::service::RoutesBuilder;

use crate::{error::CompilerError, store, workspace::Workspace};

/// The steps of the schema.
const MIGRATIONS: Migrations = migrations!["0001_policies"];
/// How soon a version stored by another replica is noticed without a hint.
const LOOK: Duration = Duration::from_secs(1);

/// The version in force of one tailnet, for those who follow it.
type InForce = watch::Sender<Option<(u64, Arc<Policy>)>>;

/// The policy compiler. Clones share it.
#[derive(Clone, Debug)]
pub struct PolicyCompiler {
    pub(crate) log: ChangeLog,
    identity: Feed<Identity>,
    registry: Feed<Registry>,
    tasks: Tasks,
    tailnets: Arc<Mutex<BTreeMap<TailnetId, Compiled>>>,
}

#[derive(Clone, Debug)]
struct Compiled {
    in_force: InForce,
    workspace: Arc<Workspace>,
}

impl PolicyCompiler {
    /// Opens the database and starts what runs in the background.
    ///
    /// # Errors
    ///
    /// When the database can not be opened.
    pub async fn start(
        url: &str,
        (identity, registry): (GrpcChannel, GrpcChannel),
        bus: Bus,
        clock: SharedClock,
        tasks: &Tasks,
    ) -> Result<Self, OpenError> {
        let options = DatabaseOptions::new("policy_compiler", MIGRATIONS, clock);
        let database = Database::open(url, options).await?;
        let compiler = Self {
            log: ChangeLog::new(database, bus.clone(), Owner::PolicyCompiler),
            identity: Feed::start(Identity::new(identity), &bus, tasks),
            registry: Feed::start(Registry::new(registry), &bus, tasks),
            tasks: tasks.clone(),
            tailnets: Arc::default(),
        };
        tasks.background("follow-policies", compiler.clone().follow_versions(bus));
        Ok(compiler)
    }

    /// Adds the services to those a process serves.
    pub fn add_to(&self, routes: &mut RoutesBuilder) {
        /// The longest document and what travels with it.
        const LONGEST_MESSAGE: usize = 17 << 20;
        let policies = PolicyServiceServer::new(self.clone());
        routes
            .add_service(policies.max_decoding_message_size(LONGEST_MESSAGE))
            .add_service(PolicyCompilerServiceServer::new(self.clone()));
    }

    /// Returns a tailnet being compiled, from now on if it was not.
    pub(crate) fn workspace(&self, tailnet: TailnetId) -> Arc<Workspace> {
        let mut tailnets = self.tailnets.lock().unwrap_or_else(PoisonError::into_inner);
        let compiled = tailnets.entry(tailnet).or_insert_with(|| {
            let (in_force, policies) = watch::channel(None);
            let workspace = Workspace::start(
                tailnet,
                &self.identity,
                &self.registry,
                policies,
                &self.tasks,
            );
            let compiler = self.clone();
            self.tasks.background("load-policy", async move {
                while let Err(error) = compiler.refresh(tailnet).await {
                    tracing::warn!(%tailnet, %error, "the policy can not be read");
                    tokio::time::sleep(LOOK).await;
                }
            });
            Compiled {
                in_force,
                workspace,
            }
        });
        Arc::clone(&compiled.workspace)
    }

    /// Brings the version in force up to date for those who follow it.
    pub(crate) async fn refresh(&self, tailnet: TailnetId) -> Result<(), CompilerError> {
        let in_force = {
            let tailnets = self.tailnets.lock().unwrap_or_else(PoisonError::into_inner);
            tailnets
                .get(&tailnet)
                .map(|compiled| compiled.in_force.clone())
        };
        let Some(in_force) = in_force else {
            return Ok(());
        };
        let known = in_force.borrow().as_ref().map(|(version, _)| *version);
        let head = store::head(self.log.database().reader(), tailnet.get()).await?;
        if known.is_none_or(|known| known < head) {
            let policy = self.policy(tailnet, head).await?;
            in_force.send_if_modified(|current| {
                let newer = current.as_ref().is_none_or(|(version, _)| *version < head);
                if newer {
                    *current = Some((head, policy));
                }
                newer
            });
        }
        Ok(())
    }

    /// Returns the version in force and its number.
    pub(crate) async fn in_force(
        &self,
        tailnet: TailnetId,
    ) -> Result<(u64, Arc<Policy>), CompilerError> {
        let head = store::head(self.log.database().reader(), tailnet.get()).await?;
        Ok((head, self.policy(tailnet, head).await?))
    }

    /// Returns a version's policy; version zero is the default.
    pub(crate) async fn policy(
        &self,
        tailnet: TailnetId,
        version: u64,
    ) -> Result<Arc<Policy>, CompilerError> {
        if version == 0 {
            return Ok(Arc::new(Policy::allow_all()));
        }
        let reader = self.log.database().reader();
        let found = store::by_version(reader, tailnet.get(), version).await?;
        let text = found.ok_or(CompilerError::NotFound("policy version"))?.text;
        let row = format!("{tailnet}/{version}");
        // The tailnet's domains may have changed since: what is in force stays in force.
        let policy = Policy::parse(&text, &BTreeSet::new()).map_err(|_| {
            // It was valid when it was stored: a newer release wrote it, or the row was tampered with.
            bowline_db::DatabaseError::Inconsistent {
                table: "policies",
                row,
            }
        })?;
        Ok(Arc::new(policy))
    }

    async fn follow_versions(self, bus: Bus) {
        let mut subscription = bus.subscribe(&[Owner::PolicyCompiler]);
        loop {
            let hinted = match tokio::time::timeout(LOOK, subscription.next()).await {
                Ok(Some(Event::Hint(_, hint))) => Some(hint.tailnet),
                Ok(Some(Event::Gap(_))) | Err(_) => None,
                Ok(None) => return,
            };
            let tailnets: Vec<_> = match hinted {
                Some(tailnet) => vec![tailnet],
                None => {
                    let held = self.tailnets.lock().unwrap_or_else(PoisonError::into_inner);
                    held.keys().copied().collect()
                }
            };
            for tailnet in tailnets {
                if let Err(error) = self.refresh(tailnet).await {
                    tracing::debug!(%tailnet, %error, "the policy can not be read");
                }
            }
        }
    }
}
