//! The service put together: what it is made of, and which policy is in force.

use std::{sync::Arc, time::Duration};

use bowline_bus::{Bus, Event, LogOwner};
use bowline_change_feed::{Feed, IdentityLog, RegistryLog};
use bowline_clock::SharedClock;
use bowline_db::{
    AnswerKeeper, AuditRpcs, ChangeLog, Database, DatabaseError, DatabaseOpenError,
    DatabaseOptions, DeploymentRpcs, Migrations, migrations,
};
use bowline_ids::TailnetId;
use bowline_policy::{DocumentContext, Policy};
use bowline_proto::policy::v1::{
    audit_service_server::AuditServiceServer, deployment_service_server::DeploymentServiceServer,
    policy_compiler_service_server::PolicyCompilerServiceServer,
    policy_service_server::PolicyServiceServer,
};
use bowline_service_kit::{GrpcChannel, ServiceName, Tasks};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tonic::{Status, service::RoutesBuilder};

use crate::{
    blocking::run_blocking,
    error::CompilerError,
    grpc::read_tailnet_id,
    policy_cache::PolicyCache,
    store,
    workspace::{OwnerFeeds, PolicyInForce, Workspace},
    workspaces::Workspaces,
};

/// The steps of the schema.
const MIGRATIONS: Migrations = migrations!["0001_policies"];
/// The version in force gets a number above all that were given before, some of which may be lost: a number means one document.
const EPOCH_STEPS: &[&str] = &["INSERT INTO policies (tailnet_id, version, author, created_at, text)
     SELECT tailnet_id, {base}, author, created_at, text FROM policies AS newest
     WHERE version = (SELECT MAX(version) FROM policies WHERE policies.tailnet_id = newest.tailnet_id)"];
/// How soon a version stored by another replica is noticed without a hint.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The policy compiler. Clones share it.
#[derive(Clone, Debug)]
pub struct PolicyCompiler {
    pub(crate) log: ChangeLog,
    answers: AnswerKeeper,
    tasks: Tasks,
    workspaces: Workspaces,
    cache: Arc<Mutex<PolicyCache>>,
}

/// Leads to the services whose logs the compiler follows.
#[derive(Clone, Debug)]
pub struct FollowedServices {
    /// Identity, for users.
    pub identity: GrpcChannel,
    /// The key registry, for nodes.
    pub registry: GrpcChannel,
}

impl PolicyCompiler {
    /// Returns how the service's database is opened.
    #[must_use]
    pub fn database_options(clock: SharedClock) -> DatabaseOptions {
        DatabaseOptions {
            epoch_steps: EPOCH_STEPS,
            ..DatabaseOptions::new("policy_compiler", MIGRATIONS, clock)
        }
    }

    /// Opens the database and starts what runs in the background.
    ///
    /// # Errors
    ///
    /// When the database can not be opened.
    pub fn start<'a>(
        url: &'a str,
        followed: FollowedServices,
        bus: Bus,
        clock: SharedClock,
        tasks: &'a Tasks,
    ) -> BoxFuture<'a, Result<Self, DatabaseOpenError>> {
        // Boxed: it is compiled here once, and not again in each crate that awaits it.
        Box::pin(async move {
            let database = Database::open(url, Self::database_options(clock)).await?;
            let feeds = OwnerFeeds {
                identity: Feed::start(
                    IdentityLog::new(followed.identity),
                    ServiceName::PolicyCompiler,
                    &bus,
                    tasks,
                ),
                registry: Feed::start(
                    RegistryLog::new(followed.registry),
                    ServiceName::PolicyCompiler,
                    &bus,
                    tasks,
                ),
            };
            let compiler = Self {
                answers: AnswerKeeper::start(database.clone(), tasks),
                log: ChangeLog::new(database, bus.clone(), LogOwner::PolicyCompiler),
                tasks: tasks.clone(),
                workspaces: Workspaces::new(feeds, tasks),
                cache: Arc::default(),
            };
            tasks.spawn_background("follow-policies", compiler.clone().follow_versions(bus));
            Ok(compiler)
        })
    }

    /// Returns the service's own database.
    #[must_use]
    pub fn database(&self) -> &Database {
        self.log.database()
    }

    /// Adds the services to those a process serves.
    pub fn add_to(&self, routes: &mut RoutesBuilder) {
        /// The longest document and what travels with it.
        const LONGEST_MESSAGE: usize = 17 << 20;
        let policies = self.answers.around(
            PolicyServiceServer::new(self.clone()).max_decoding_message_size(LONGEST_MESSAGE),
        );
        let to_status = |error| CompilerError::from(error).into();
        let deployment = DeploymentRpcs::new(self.log.database().clone(), to_status);
        routes
            .add_service(policies)
            .add_service(AuditServiceServer::new(self.audit_rpcs()))
            .add_service(DeploymentServiceServer::new(deployment))
            .add_service(PolicyCompilerServiceServer::new(self.clone()));
    }

    fn audit_rpcs(&self) -> AuditRpcs {
        AuditRpcs::new(
            self.log.clone(),
            |number| read_tailnet_id(number).map_err(Status::from),
            |error| CompilerError::from(error).into(),
        )
    }

    /// Returns a tailnet's workspace, and starts it when there is none.
    pub(crate) fn get_workspace(&self, tailnet: TailnetId) -> Arc<Workspace> {
        self.workspaces.get_or_start(tailnet, || {
            let compiler = self.clone();
            self.tasks.spawn_background("load-policy", async move {
                while let Err(error) = compiler.refresh_policy(tailnet).await {
                    tracing::warn!(%tailnet, %error, "the policy can not be read");
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
            });
        })
    }

    /// Returns the number of the newest version; a workspace that has an older one is sent the newest.
    pub(crate) async fn refresh_policy(&self, tailnet: TailnetId) -> Result<u64, CompilerError> {
        let reader = self.log.database().reader();
        let newest = store::newest_version(reader, tailnet.get()).await?;
        let Some(sender) = self.workspaces.policy_sender(tailnet) else {
            return Ok(newest);
        };
        let is_older =
            |sent: &Option<PolicyInForce>| sent.as_ref().is_none_or(|known| known.version < newest);
        let needs_newest = is_older(&sender.borrow());
        if needs_newest {
            let policy = self.load_policy(tailnet, newest).await?;
            let origin = self.log.origin_of_newest(tailnet).await;
            // Meanwhile another call may have sent a newer one.
            sender.send_if_modified(|sent| {
                let is_newer = is_older(sent);
                if is_newer {
                    *sent = Some(PolicyInForce {
                        version: newest,
                        policy,
                        origin,
                    });
                }
                is_newer
            });
        }
        Ok(newest)
    }

    /// Returns a version's policy; version zero is the default.
    pub(crate) async fn load_policy(
        &self,
        tailnet: TailnetId,
        version: u64,
    ) -> Result<Arc<Policy>, CompilerError> {
        if version == 0 {
            return Ok(Arc::new(Policy::allow_all()));
        }
        let cached = self.cache.lock().get(tailnet, version);
        if let Some(policy) = cached {
            return Ok(policy);
        }
        let reader = self.log.database().reader();
        let found = store::find_version(reader, tailnet.get(), version).await?;
        let text = found.ok_or(CompilerError::NotFound("policy version"))?.text;
        let bytes = text.len();
        // It was checked against the users of its day: what has been accepted stays in force.
        let parsed =
            run_blocking(move || Policy::parse(&text, &DocumentContext::for_stored_document()));
        let policy = parsed.await?.map_err(|_| {
            // It was valid when it was stored: a newer release wrote it, or the row was tampered with.
            DatabaseError::Inconsistent {
                table: "policies",
                row: format!("{tailnet}/{version}"),
            }
        })?;
        let policy = Arc::new(policy);
        self.cache_policy(tailnet, version, &policy, bytes);
        Ok(policy)
    }

    /// Keeps a version's policy in memory, read from a document of so many bytes.
    pub(crate) fn cache_policy(
        &self,
        tailnet: TailnetId,
        version: u64,
        policy: &Arc<Policy>,
        bytes: usize,
    ) {
        self.cache.lock().insert(tailnet, version, policy, bytes);
    }

    /// Sends new versions to the workspaces: on a hint, and every second in case one was lost.
    async fn follow_versions(self, bus: Bus) {
        let mut subscription = bus.subscribe(&[LogOwner::PolicyCompiler]);
        loop {
            let hinted = match tokio::time::timeout(POLL_INTERVAL, subscription.next()).await {
                Ok(Some(Event::Hint(_, hint))) => Some(hint.tailnet),
                Ok(Some(Event::Gap(_))) | Err(_) => None,
                Ok(None) => return,
            };
            let tailnets = match hinted {
                Some(tailnet) => vec![tailnet],
                None => self.workspaces.tailnets(),
            };
            for tailnet in tailnets {
                if let Err(error) = self.refresh_policy(tailnet).await {
                    tracing::debug!(%tailnet, %error, "the policy can not be read");
                }
            }
        }
    }
}
