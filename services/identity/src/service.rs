//! The service put together.

use std::{sync::Arc, time::Duration};

use bowline_bus::{Bus, LogOwner};
use bowline_clock::SharedClock;
use bowline_db::{ChangeLog, Database, DatabaseOpenError, DatabaseOptions, Migrations, migrations};
use bowline_proto::identity::v1::{
    audit_service_server::AuditServiceServer, identity_service_server::IdentityServiceServer,
    login_service_server::LoginServiceServer, tailnet_service_server::TailnetServiceServer,
    user_service_server::UserServiceServer,
};
use bowline_service_kit::Tasks;
use chrono::TimeDelta;
use futures_util::future::BoxFuture;
use tonic::service::RoutesBuilder;

use crate::{error::IdentityError, login_waiters::Waiters, pace::LoginPace, store};

/// The steps of the schema.
const MIGRATIONS: Migrations = migrations!["0001_identity", "0002_folded_names_and_login_sources",];
/// How often logins that ended long ago are forgotten, and the log is compacted.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// How long a login can still be asked for after the time it had.
const LOGIN_MEMORY: TimeDelta = TimeDelta::hours(1);
/// How much of the log is kept.
const KEPT_ENTRIES: u32 = 100_000;
const KEPT_AGE: Duration = Duration::from_secs(600);

/// The identity service. Clones share it.
#[derive(Clone, Debug)]
pub struct Identity {
    pub(crate) log: ChangeLog,
    /// Who waits for a login here.
    pub(crate) waiters: Waiters,
    /// How fast logins begin.
    pub(crate) pace: Arc<LoginPace>,
}

impl Identity {
    /// Opens the database and starts what runs in the background.
    ///
    /// # Errors
    ///
    /// When the database can not be opened.
    pub fn start<'a>(
        url: &'a str,
        bus: Bus,
        clock: SharedClock,
        tasks: &'a Tasks,
    ) -> BoxFuture<'a, Result<Self, DatabaseOpenError>> {
        // Boxed: it is compiled here once, and not again in each crate that awaits it.
        Box::pin(async move {
            let options = DatabaseOptions::new("identity", MIGRATIONS, clock);
            let database = Database::open(url, options).await?;
            let log = ChangeLog::new(database, bus, LogOwner::Identity);
            let identity = Self {
                log,
                waiters: Waiters::default(),
                pace: Arc::default(),
            };
            let database = identity.log.database().clone();
            tasks.spawn_background(
                "follow-logins",
                identity.waiters.clone().watch_decisions(database),
            );
            tasks.spawn_background("sweep-identity", identity.clone().sweep_regularly());
            Ok(identity)
        })
    }

    /// Adds the services to those a process serves.
    pub fn add_to(&self, routes: &mut RoutesBuilder) {
        routes
            .add_service(TailnetServiceServer::new(self.clone()))
            .add_service(UserServiceServer::new(self.clone()))
            .add_service(LoginServiceServer::new(self.clone()))
            .add_service(AuditServiceServer::new(self.clone()))
            .add_service(IdentityServiceServer::new(self.clone()));
    }

    /// Fills in what an older release left out, also one that still runs beside this.
    async fn fold_names(&self) -> Result<(), IdentityError> {
        loop {
            let folded = self.log.database().write(|write| {
                Box::pin(async move {
                    Ok::<_, IdentityError>(store::fold_some_names(write.connection()).await?)
                })
            });
            if folded.await? == 0 {
                return Ok(());
            }
        }
    }

    async fn sweep_regularly(self) {
        loop {
            if let Err(error) = self.fold_names().await {
                tracing::warn!(%error, "login names can not be folded");
            }
            tokio::time::sleep(SWEEP_INTERVAL).await;
            let forgotten = self.log.database().write(|write| {
                Box::pin(async move {
                    let before = write.now() - LOGIN_MEMORY;
                    store::forget_logins(write.connection(), before).await?;
                    Ok::<_, IdentityError>(())
                })
            });
            if let Err(error) = forgotten.await {
                tracing::warn!(%error, "old logins can not be forgotten");
            }
            if let Err(error) = self.log.compact_entries(KEPT_ENTRIES, KEPT_AGE).await {
                tracing::warn!(%error, "the log can not be compacted");
            }
        }
    }
}
