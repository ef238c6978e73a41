//! The service: its parts, put together.

use std::sync::Arc;

use bowline_bus::{Bus, LogOwner};
use bowline_clock::SharedClock;
use bowline_db::{
    AnswerKeeper, AuditRpcs, ChangeLog, Database, DatabaseOpenError, DatabaseOptions,
    DeploymentRpcs, Migrations, migrations,
};
use bowline_http_client::HttpClient;
use bowline_oidc::Providers;
use bowline_proto::identity::v1::{
    api_key_service_server::ApiKeyServiceServer, audit_service_server::AuditServiceServer,
    condition_service_server::ConditionServiceServer,
    connection_service_server::ConnectionServiceServer,
    deployment_service_server::DeploymentServiceServer, group_service_server::GroupServiceServer,
    identity_service_server::IdentityServiceServer,
    invitation_service_server::InvitationServiceServer,
    login_attempt_service_server::LoginAttemptServiceServer,
    login_service_server::LoginServiceServer,
    o_auth_client_service_server::OAuthClientServiceServer,
    passkey_service_server::PasskeyServiceServer, scim_service_server::ScimServiceServer,
    scim_token_service_server::ScimTokenServiceServer,
    session_service_server::SessionServiceServer, tailnet_service_server::TailnetServiceServer,
    token_service_server::TokenServiceServer, user_service_server::UserServiceServer,
    webhook_service_server::WebhookServiceServer,
};
use bowline_sealing::SealingKeys;
use bowline_service_kit::Tasks;
use futures_util::future::BoxFuture;
use tonic::{Status, service::RoutesBuilder};

use crate::{
    changes::IdentityChangesReader,
    conditions::Conditions,
    config::{IdentityConfig, SealingKeyError},
    connection_tester::ConnectionTester,
    connections::Connections,
    credentials::ApiCredentials,
    error::IdentityError,
    fields::read_tailnet_id,
    groups::Groups,
    grpc::{ConnectionRpcs, IdentityRpcs, InvitationRpcs},
    invitations::Invitations,
    login_attempts::LoginAttempts,
    login_waiters::Waiters,
    logins::Logins,
    passkeys::Passkeys,
    provider_refreshes::ProviderRefresher,
    saml::{MetadataReloader, SamlProviders},
    scim::{ScimProvisioning, ScimTokens},
    sessions::BrowserSessions,
    sweeper::IdentitySweeper,
    tailnets::Tailnets,
    tokens::TokenAuthenticator,
    users::Users,
    webhooks::{
        ApprovalAsker, EventCollector, EventSignal, TrailReader, TrailServices, WebhookSender,
        Webhooks,
    },
};

/// The steps of the schema.
const MIGRATIONS: Migrations = migrations![
    "0001_identity",
    "0002_folded_names_and_login_sources",
    "0003_connections",
    "0004_saml",
    "0005_credentials",
    "0006_groups",
    "0007_conditions",
    "0008_sessions",
    "0009_waiting_users",
    "0010_ssh_checks",
    "0011_provider_sessions",
    "0012_scim",
    "0013_provider_refreshes",
    "0014_merged_users",
    "0015_program_logins",
    "0016_waiting_logins",
    "0017_deleted_users",
    "0018_webhooks",
    "0021_webhook_cursor_hashes",
];

/// Why identity can not start.
#[derive(Debug, thiserror::Error)]
pub enum IdentityStartError {
    /// The database can not be opened.
    #[error(transparent)]
    Database(#[from] DatabaseOpenError),
    /// The sealing keys can not be read.
    #[error(transparent)]
    Sealing(#[from] SealingKeyError),
}

/// What the service is put together from.
pub struct IdentityBase {
    /// Its own database.
    pub database: Database,
    /// Tells the gateways that there is something new.
    pub bus: Bus,
    /// The keys that seal the secrets of providers, where there are any.
    pub sealing_keys: Option<SealingKeys>,
    /// What identity providers are asked through.
    pub provider_client: HttpClient,
    /// What events are sent to webhooks through.
    pub webhook_client: HttpClient,
    /// The other owners, whose audit trails webhooks are told of; without them they are told of users alone.
    pub trail_services: Option<TrailServices>,
    /// The URL that browsers reach the gateway by; empty where it is not known.
    pub public_url: String,
}

/// The identity service: the parts that serve, put together. Clones share them.
#[derive(Clone)]
pub struct Identity {
    database: Database,
    answers: AnswerKeeper,
    tailnets: Tailnets,
    users: Users,
    groups: Groups,
    logins: Logins,
    connections: ConnectionRpcs,
    credentials: ApiCredentials,
    tokens: TokenAuthenticator,
    sessions: BrowserSessions,
    invitations: InvitationRpcs,
    passkeys: Passkeys,
    attempts: LoginAttempts,
    conditions: Conditions,
    scim: ScimProvisioning,
    scim_tokens: ScimTokens,
    webhooks: Webhooks,
    audit: AuditRpcs,
    rpcs: IdentityRpcs,
}

impl Identity {
    /// Opens the database and starts what runs in the background.
    ///
    /// # Errors
    ///
    /// When the database can not be opened, or the sealing keys not read.
    pub fn start<'a>(
        url: &'a str,
        config: &'a IdentityConfig,
        trail_services: Option<TrailServices>,
        bus: Bus,
        clock: SharedClock,
        tasks: &'a Tasks,
    ) -> BoxFuture<'a, Result<Self, IdentityStartError>> {
        // Boxed: it is compiled here once, and not again in each crate that awaits it.
        Box::pin(async move {
            let base = IdentityBase {
                database: Database::open(url, Self::database_options(clock)).await?,
                bus,
                sealing_keys: config.read_sealing_keys().await?,
                provider_client: config.provider_client(),
                webhook_client: config.webhook_client(),
                trail_services,
                public_url: config.public_url.clone(),
            };
            Ok(Self::assemble(base, tasks))
        })
    }

    /// Returns how the service's database is opened.
    #[must_use]
    pub fn database_options(clock: SharedClock) -> DatabaseOptions {
        DatabaseOptions::new("identity", MIGRATIONS, clock)
    }

    /// Puts the service together, and starts what runs in the background.
    #[must_use]
    pub fn assemble(base: IdentityBase, tasks: &Tasks) -> Self {
        let log = ChangeLog::new(base.database, base.bus, LogOwner::Identity);
        let waiters = Waiters::default();
        let logins = Logins::new(log.clone(), waiters.clone());
        let client = base.provider_client;
        let providers = Providers::new(client.clone());
        let saml = SamlProviders::new(log.clone(), client.clone());
        let sealing = base.sealing_keys.map(Arc::new);
        let trails = TrailReader::new(log.clone(), base.trail_services);
        let events = EventSignal::default();
        let collector = EventCollector::new(log.clone(), trails.clone(), events.clone());
        tasks.spawn_background("collect-webhook-events", collector.run());
        if let Some(sealing) = &sealing {
            let sealing = Arc::clone(sealing);
            let client = base.webhook_client.clone();
            let sender = WebhookSender::new(log.clone(), sealing, client, events.clone());
            tasks.spawn_background("send-webhook-events", sender.run());
        }
        let asker = ApprovalAsker::new(log.clone(), sealing.clone(), base.webhook_client);
        let webhooks = Webhooks::new(log.clone(), sealing.clone(), trails, events);
        let connections = Connections::new(log.clone(), sealing, saml.clone());
        let attempts = LoginAttempts::new(
            log.clone(),
            logins.clone(),
            connections.clone(),
            providers.clone(),
        );
        let sessions = BrowserSessions::new(
            log.clone(),
            logins.clone(),
            attempts.clone(),
            connections.clone(),
        );
        let public_url = base.public_url;
        let invitations = InvitationRpcs {
            invitations: Invitations::new(log.clone()),
            public_url: public_url.clone(),
        };
        let tester = ConnectionTester::new(connections.clone(), providers, client, &public_url);
        let reloader = MetadataReloader::new(saml);
        tasks.spawn_background("reload-saml-metadata", reloader.run());
        let refresher = ProviderRefresher::new(sessions.clone());
        tasks.spawn_background("refresh-provider-logins", refresher.run());
        let watching = waiters.watch_decisions(log.database().clone());
        tasks.spawn_background("follow-logins", watching);
        let sweeper = IdentitySweeper::new(log.clone(), connections.clone());
        tasks.spawn_background("sweep-identity", sweeper.run());
        let (tailnets, users) = (Tailnets::new(log.clone()), Users::new(log.clone()));
        let changes = IdentityChangesReader::new(log.clone());
        Self {
            answers: AnswerKeeper::start(log.database().clone(), tasks),
            database: log.database().clone(),
            rpcs: IdentityRpcs::new(tailnets.clone(), users.clone(), changes, asker),
            tailnets,
            users,
            groups: Groups::new(log.clone()),
            logins,
            passkeys: Passkeys::new(log.clone(), connections.clone()),
            sessions: sessions.clone(),
            invitations,
            connections: ConnectionRpcs {
                connections,
                tester,
                sessions,
                public_url,
            },
            credentials: ApiCredentials::new(log.clone()),
            tokens: TokenAuthenticator::new(log.clone()),
            attempts,
            conditions: Conditions::new(log.clone()),
            scim: ScimProvisioning::new(log.clone()),
            scim_tokens: ScimTokens::new(log.clone()),
            webhooks,
            audit: AuditRpcs::new(
                log,
                |number| read_tailnet_id(number).map_err(Status::from),
                |error| IdentityError::from(error).into(),
            ),
        }
    }

    /// Returns the service's own database.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }

    fn deployment_rpcs(&self) -> DeploymentRpcs {
        DeploymentRpcs::new(self.database.clone(), |error| {
            IdentityError::from(error).into()
        })
    }

    /// Adds the services to those a process serves.
    pub fn add_to(&self, routes: &mut RoutesBuilder) {
        let once = &self.answers;
        routes
            .add_service(once.around(TailnetServiceServer::new(self.tailnets.clone())))
            .add_service(once.around(UserServiceServer::new(self.users.clone())))
            .add_service(once.around(GroupServiceServer::new(self.groups.clone())))
            .add_service(once.around(LoginServiceServer::new(self.logins.clone())))
            .add_service(once.around(ConnectionServiceServer::new(self.connections.clone())))
            .add_service(once.around(ApiKeyServiceServer::new(self.credentials.clone())))
            .add_service(once.around(OAuthClientServiceServer::new(self.credentials.clone())))
            .add_service(TokenServiceServer::new(self.tokens.clone()))
            .add_service(once.around(ConditionServiceServer::new(self.conditions.clone())))
            .add_service(LoginAttemptServiceServer::new(self.attempts.clone()))
            .add_service(once.around(SessionServiceServer::new(self.sessions.clone())))
            .add_service(once.around(InvitationServiceServer::new(self.invitations.clone())))
            .add_service(PasskeyServiceServer::new(self.passkeys.clone()))
            .add_service(ScimServiceServer::new(self.scim.clone()))
            .add_service(once.around(ScimTokenServiceServer::new(self.scim_tokens.clone())))
            .add_service(once.around(WebhookServiceServer::new(self.webhooks.clone())))
            .add_service(AuditServiceServer::new(self.audit.clone()))
            .add_service(DeploymentServiceServer::new(self.deployment_rpcs()))
            .add_service(IdentityServiceServer::new(self.rpcs.clone()));
    }
}
