//! The service put together.

use std::time::Duration;

use bowline_bus::{Bus, LogOwner};
use bowline_clock::SharedClock;
use bowline_db::{
    AuditRpcs, ChangeLog, Database, DatabaseOpenError, DatabaseOptions, Migrations, migrations,
};
use bowline_proto::identity::v1::{
    audit_service_server::AuditServiceServer, identity_service_server::IdentityServiceServer,
    login_service_server::LoginServiceServer, tailnet_service_server::TailnetServiceServer,
    user_service_server::UserServiceServer,
};
use bowline_service_kit::Tasks;
use chrono::TimeDelta;
use futures_util::future::BoxFuture;
use tonic::{Status, service::RoutesBuilder};

use crate::{
    error::IdentityError, fields::read_tailnet_id, login_waiters::Waiters, logins::Logins, store,
};

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
    log: ChangeLog,
    logins: Logins,
    audit: AuditRpcs,
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
            let waiters = Waiters::default();
            let watching = waiters.clone().watch_decisions(log.database().clone());
            tasks.spawn_background("follow-logins", watching);
            let identity = Self {
                logins: Logins::new(log.clone(), waiters),
                audit: AuditRpcs::new(
                    log.clone(),
                    |number| read_tailnet_id(number).map_err(Status::from),
                    |error| IdentityError::from(error).into(),
                ),
                log,
            };
            tasks.spawn_background("sweep-identity", identity.clone().sweep_regularly());
            Ok(identity)
        })
    }

    pub(crate) fn log(&self) -> &ChangeLog {
        &self.log
    }

    /// Adds the services to those a process serves.
    pub fn add_to(&self, routes: &mut RoutesBuilder) {
        routes
            .add_service(TailnetServiceServer::new(self.clone()))
            .add_service(UserServiceServer::new(self.clone()))
            .add_service(LoginServiceServer::new(self.logins.clone()))
            .add_service(AuditServiceServer::new(self.audit.clone()))
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
                    store::logins::forget_logins(write.connection(), before).await?;
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
