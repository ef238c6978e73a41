//! The service: its parts, put together.

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
use futures_util::future::BoxFuture;
use tonic::{Status, service::RoutesBuilder};

use crate::{
    changes::IdentityChangesReader, error::IdentityError, fields::read_tailnet_id,
    grpc::IdentityRpcs, login_waiters::Waiters, logins::Logins, sweeper::IdentitySweeper,
    tailnets::Tailnets, users::Users,
};

/// The steps of the schema.
const MIGRATIONS: Migrations = migrations!["0001_identity", "0002_folded_names_and_login_sources",];

/// The identity service: the parts that serve, put together. Clones share them.
#[derive(Clone, Debug)]
pub struct Identity {
    tailnets: Tailnets,
    users: Users,
    logins: Logins,
    audit: AuditRpcs,
    rpcs: IdentityRpcs,
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
            tasks.spawn_background("sweep-identity", IdentitySweeper::new(log.clone()).run());
            let tailnets = Tailnets::new(log.clone());
            let users = Users::new(log.clone());
            let changes = IdentityChangesReader::new(log.clone());
            Ok(Self {
                rpcs: IdentityRpcs::new(tailnets.clone(), users.clone(), changes),
                tailnets,
                users,
                logins: Logins::new(log.clone(), waiters),
                audit: AuditRpcs::new(
                    log,
                    |number| read_tailnet_id(number).map_err(Status::from),
                    |error| IdentityError::from(error).into(),
                ),
            })
        })
    }

    /// Adds the services to those a process serves.
    pub fn add_to(&self, routes: &mut RoutesBuilder) {
        routes
            .add_service(TailnetServiceServer::new(self.tailnets.clone()))
            .add_service(UserServiceServer::new(self.users.clone()))
            .add_service(LoginServiceServer::new(self.logins.clone()))
            .add_service(AuditServiceServer::new(self.audit.clone()))
            .add_service(IdentityServiceServer::new(self.rpcs.clone()));
    }
}
