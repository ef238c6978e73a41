//! The service put together.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bowline_bus::{Bus, Event, Owner};
use bowline_change_feed::{Feed, Identity, Registry};
use bowline_clock::SharedClock;
use bowline_db::{ChangeLog, Database, DatabaseOptions, Migrations, OpenError, migrations};
use bowline_ids::TailnetId;
use bowline_policy::{DocumentContext, Policy};
use bowline_proto::policy::v1::{
    audit_service_server::AuditServiceServer,
    policy_compiler_service_server::PolicyCompilerServiceServer,
    policy_service_server::PolicyServiceServer,
};
use bowline_service_kit::{GrpcChannel, Tasks};
use futures_util::future::BoxFuture;
use tonic::service::RoutesBuilder;

use crate::{
    apart::apart, error::CompilerError, shelf::Shelf, store, workspace::Workspace,
    workspaces::Workspaces,
};

/// The steps of the schema.
const MIGRATIONS: Migrations = migrations!["0001_policies"];
/// How soon a version stored by another replica is noticed without a hint.
const LOOK: Duration = Duration::from_secs(1);

/// The policy compiler. Clones share it.
#[derive(Clone, Debug)]
pub struct PolicyCompiler {
    pub(crate) log: ChangeLog,
    tasks: Tasks,
    workspaces: Workspaces,
    shelf: Arc<Mutex<Shelf>>,
}

impl PolicyCompiler {
    /// Opens the database and starts what runs in the background.
    ///
    /// # Errors
    ///
    /// When the database can not be opened.
    pub fn start<'a>(
        url: &'a str,
        (identity, registry): (GrpcChannel, GrpcChannel),
        bus: Bus,
        clock: SharedClock,
        tasks: &'a Tasks,
    ) -> BoxFuture<'a, Result<Self, OpenError>> {
        // Boxed: it is compiled here once, and not again in each crate that awaits it.
        Box::pin(async move {
            let options = DatabaseOptions::new("policy_compiler", MIGRATIONS, clock);
            let database = Database::open(url, options).await?;
            let compiler = Self {
                log: ChangeLog::new(database, bus.clone(), Owner::PolicyCompiler),
                tasks: tasks.clone(),
                workspaces: Workspaces::new(
                    Feed::start(Identity::new(identity), &bus, tasks),
                    Feed::start(Registry::new(registry), &bus, tasks),
                    tasks,
                ),
                shelf: Arc::default(),
            };
            tasks.background("follow-policies", compiler.clone().follow_versions(bus));
            Ok(compiler)
        })
    }

    /// Adds the services to those a process serves.
    pub fn add_to(&self, routes: &mut RoutesBuilder) {
        /// The longest document and what travels with it.
        const LONGEST_MESSAGE: usize = 17 << 20;
        let policies = PolicyServiceServer::new(self.clone());
        routes
            .add_service(policies.max_decoding_message_size(LONGEST_MESSAGE))
            .add_service(AuditServiceServer::new(self.clone()))
            .add_service(PolicyCompilerServiceServer::new(self.clone()));
    }

    /// Returns a tailnet being compiled, from now on if it was not.
    pub(crate) fn workspace(&self, tailnet: TailnetId) -> Arc<Workspace> {
        self.workspaces.get(tailnet, || {
            let compiler = self.clone();
            self.tasks.background("load-policy", async move {
                while let Err(error) = compiler.refresh(tailnet).await {
                    tracing::warn!(%tailnet, %error, "the policy can not be read");
                    tokio::time::sleep(LOOK).await;
                }
            });
        })
    }

    /// Brings the version in force up to date for those who follow it, and returns its number.
    pub(crate) async fn refresh(&self, tailnet: TailnetId) -> Result<u64, CompilerError> {
        let head = store::head(self.log.database().reader(), tailnet.get()).await?;
        let Some(in_force) = self.workspaces.in_force(tailnet) else {
            return Ok(head);
        };
        let known = in_force.borrow().as_ref().map(|(version, _)| *version);
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
        Ok(head)
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
        if let Some(policy) = self.shelf().get(tailnet, version) {
            return Ok(policy);
        }
        let reader = self.log.database().reader();
        let found = store::by_version(reader, tailnet.get(), version).await?;
        let text = found.ok_or(CompilerError::NotFound("policy version"))?.text;
        let bytes = text.len();
        // What is known of the tailnet may have changed since: what is in force stays in force.
        let parsed = apart(move || Policy::parse(&text, &DocumentContext::stored())).await?;
        let policy = parsed.map_err(|_| {
            // It was valid when it was stored: a newer release wrote it, or the row was tampered with.
            bowline_db::DatabaseError::Inconsistent {
                table: "policies",
                row: format!("{tailnet}/{version}"),
            }
        })?;
        let policy = Arc::new(policy);
        self.keep(tailnet, version, &policy, bytes);
        Ok(policy)
    }

    /// Keeps a version's policy at hand, read from a document of so many bytes.
    pub(crate) fn keep(
        &self,
        tailnet: TailnetId,
        version: u64,
        policy: &Arc<Policy>,
        bytes: usize,
    ) {
        self.shelf().put(tailnet, version, policy, bytes);
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
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
                None => self.workspaces.tailnets(),
            };
            for tailnet in tailnets {
                if let Err(error) = self.refresh(tailnet).await {
                    tracing::debug!(%tailnet, %error, "the policy can not be read");
                }
            }
        }
    }
}
