//! Webhooks are told what happens: in order, signed, at least once.

mod approvals;
mod crash;
mod failures;
mod guarded;
mod limits;
mod owners;

use std::{sync::Arc, time::Duration};

use bowline_bus::Bus;
use bowline_clock::{Clock as _, ManualClock};
use bowline_db::{Database, TimeSource};
use bowline_http_client::Destinations;
use bowline_identity::{Identity, IdentityBase};
use bowline_proto::identity::v1::{
    CreateTailnetRequest, CreateUserRequest, CreateWebhookRequest, DeleteUserRequest,
    GetWebhookRequest, RotateWebhookSecretRequest, TestWebhookRequest, UpdateWebhookRequest,
    Webhook, tailnet_service_client::TailnetServiceClient, user_service_client::UserServiceClient,
    webhook_service_client::WebhookServiceClient,
};
use bowline_sealing::SealingKeys;
use bowline_service_kit::{GrpcChannel, Shutdown, Tasks};
use bowline_test_servers::{TestDatabase, on_both};
use bowline_test_webhook_receiver::TestReceiver;
use chrono::TimeDelta;
use tonic::Code;

use crate::identity::{SEALING_KEY, admin, channel};

on_both!(TestHooks::start =>
    changes_arrive_in_order_and_signed,
    subscriptions_choose_what_is_sent,
    both_secrets_sign_until_the_old_one_ends,
    secrets_are_shown_once_and_webhooks_are_bounded,
    bad_requests_change_nothing
);

/// Time by which whatever a test waits for has happened, on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// Identity with a clock of the test's, and a receiver.
pub(crate) struct TestHooks {
    identity: Identity,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) receiver: Arc<TestReceiver>,
    pub(crate) tailnet: u64,
    database: TestDatabase,
}

impl TestHooks {
    pub(crate) async fn start(database: TestDatabase) -> Self {
        let clock = Arc::new(ManualClock::new(chrono::Utc::now()));
        let receiver = Arc::new(TestReceiver::start().await);
        Self::start_with(database, clock, receiver, Destinations::Anywhere).await
    }

    /// Starts it as administrators leave it: it reaches public addresses only.
    pub(crate) async fn start_guarded(database: TestDatabase) -> Self {
        let clock = Arc::new(ManualClock::new(chrono::Utc::now()));
        let receiver = Arc::new(TestReceiver::start().await);
        let public = Destinations::Public { also: Vec::new() };
        Self::start_with(database, clock, receiver, public).await
    }

    pub(crate) async fn start_with(
        database: TestDatabase,
        clock: Arc<ManualClock>,
        receiver: Arc<TestReceiver>,
        destinations: Destinations,
    ) -> Self {
        let identity = Self::replica(&database, &clock, &receiver, destinations).await;
        let mut hooks = Self {
            identity,
            clock,
            receiver,
            tailnet: 0,
            database,
        };
        hooks.tailnet = hooks.create_tailnet("home").await;
        hooks
    }

    /// Starts a process of identity.
    pub(crate) async fn replica(
        database: &TestDatabase,
        clock: &Arc<ManualClock>,
        receiver: &TestReceiver,
        destinations: Destinations,
    ) -> Identity {
        let mut options = Identity::database_options(Arc::clone(clock) as _);
        options.time = TimeSource::Clock;
        let client = receiver.client(destinations);
        let base = IdentityBase {
            database: Database::open(&database.url("identity"), options)
                .await
                .unwrap(),
            bus: Bus::in_process(),
            sealing_keys: Some(SealingKeys::parse(SEALING_KEY).unwrap()),
            provider_client: client.clone(),
            webhook_client: client,
            trail_services: None,
            public_url: String::new(),
        };
        let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
        Identity::assemble(base, &tasks)
    }

    pub(crate) fn database(&self) -> &TestDatabase {
        &self.database
    }

    /// Ends, and leaves the database.
    pub(crate) fn into_database(self) -> TestDatabase {
        self.database
    }

    fn admin(&self) -> GrpcChannel {
        channel(&self.identity, admin())
    }

    pub(crate) fn webhooks(&self) -> WebhookServiceClient<GrpcChannel> {
        WebhookServiceClient::new(self.admin())
    }

    pub(crate) async fn create_tailnet(&self, name: &str) -> u64 {
        let request = CreateTailnetRequest {
            name: name.to_owned(),
            settings: None,
        };
        let mut tailnets = TailnetServiceClient::new(self.admin());
        let made = tailnets.create_tailnet(request).await.unwrap();
        made.into_inner().tailnet.unwrap().id
    }

    /// Makes a user of a tailnet; returns the number.
    pub(crate) async fn create_user(&self, tailnet_id: u64, name: &str) -> u64 {
        let request = CreateUserRequest {
            tailnet_id,
            login_name: name.to_owned(),
            ..CreateUserRequest::default()
        };
        let mut users = UserServiceClient::new(self.admin());
        let made = users.create_user(request).await.unwrap();
        made.into_inner().user.unwrap().id
    }

    /// Makes a webhook of a tailnet at the receiver; returns its number and secret.
    pub(crate) async fn create_webhook(&self, tailnet_id: u64, events: &[&str]) -> (u64, String) {
        let request = self.wanted(tailnet_id, events);
        let made = self
            .webhooks()
            .create_webhook(request)
            .await
            .unwrap()
            .into_inner();
        (made.webhook.unwrap().id, made.secret)
    }

    pub(crate) fn wanted(&self, tailnet_id: u64, events: &[&str]) -> CreateWebhookRequest {
        CreateWebhookRequest {
            tailnet_id,
            url: self.receiver.url(),
            provider_type: String::new(),
            subscriptions: events.iter().map(|event| (*event).to_owned()).collect(),
        }
    }

    pub(crate) async fn webhook(&self, tailnet_id: u64, webhook_id: u64) -> Webhook {
        let request = GetWebhookRequest {
            tailnet_id,
            webhook_id,
        };
        let found = self.webhooks().get_webhook(request).await.unwrap();
        found.into_inner().webhook.unwrap()
    }

    /// Runs a statement on a table, as whoever has the database can; `{}` is the table.
    pub(crate) async fn execute(&self, table: &str, sql: &str) {
        sqlx::any::install_default_drivers();
        let pool = sqlx::AnyPool::connect(&self.database.url("identity"))
            .await
            .unwrap();
        let sql = sql.replace("{}", &self.database.table("identity", table));
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&pool)
            .await
            .unwrap();
        pool.close().await;
    }

    /// Returns a webhook once it is as it should be.
    pub(crate) async fn wait_for_webhook(
        &self,
        tailnet_id: u64,
        id: u64,
        is_right: impl Fn(&Webhook) -> bool,
    ) -> Webhook {
        let waiting = async {
            loop {
                let webhook = self.webhook(tailnet_id, id).await;
                if is_right(&webhook) {
                    return webhook;
                }
                tokio::task::yield_now().await;
            }
        };
        let found = tokio::time::timeout(SOON, waiting).await;
        match found {
            Ok(webhook) => webhook,
            Err(_) => panic!("{:?}", self.webhook(tailnet_id, id).await),
        }
    }
}

async fn changes_arrive_in_order_and_signed(hooks: TestHooks) {
    let before = hooks.create_user(hooks.tailnet, "before@example.com").await;
    let (id, secret) = hooks
        .create_webhook(hooks.tailnet, &["categoryTailnetManagement"])
        .await;
    for name in ["a", "b", "c"] {
        hooks
            .create_user(hooks.tailnet, &format!("{name}@example.com"))
            .await;
    }
    let mut users = UserServiceClient::new(hooks.admin());
    let request = DeleteUserRequest {
        tailnet_id: hooks.tailnet,
        user_id: before,
    };
    users.delete_user(request).await.unwrap();
    let deliveries = hooks.receiver.wait_for(4).await;
    let told: Vec<_> = deliveries
        .iter()
        .map(|delivery| {
            let event = delivery.event();
            (event["type"].clone(), event["data"]["user"].clone())
        })
        .collect();
    let expected = [
        ("userCreated", "a@example.com"),
        ("userCreated", "b@example.com"),
        ("userCreated", "c@example.com"),
        ("userDeleted", "before@example.com"),
    ];
    assert_eq!(
        told,
        expected.map(|(kind, user)| (kind.into(), user.into()))
    );
    for delivery in &deliveries {
        assert!(delivery.is_signed_by(&secret, hooks.clock.now()));
        assert!(!delivery.is_signed_by("another", hooks.clock.now()));
        assert_eq!(delivery.event()["id"], delivery.id.as_str());
        assert_eq!(delivery.event()["tailnet"], "home");
        assert_eq!(delivery.event()["data"]["actor"], "admin:test");
    }
    let webhook = hooks
        .wait_for_webhook(hooks.tailnet, id, |webhook| webhook.waiting == 0)
        .await;
    assert!(webhook.delivered_at.is_some());
    assert_eq!(hooks.receiver.all().len(), 4, "each came once");
}

async fn subscriptions_choose_what_is_sent(hooks: TestHooks) {
    let (id, _) = hooks.create_webhook(hooks.tailnet, &["userDeleted"]).await;
    let first = hooks.create_user(hooks.tailnet, "a@example.com").await;
    let request = TestWebhookRequest {
        tailnet_id: hooks.tailnet,
        webhook_id: id,
    };
    let event_id = hooks
        .webhooks()
        .test_webhook(request)
        .await
        .unwrap()
        .into_inner()
        .event_id;
    let deliveries = hooks.receiver.wait_for(1).await;
    assert_eq!(
        (deliveries[0].kind(), &deliveries[0].id),
        ("test".to_owned(), &event_id)
    );
    // An event that was not subscribed to is not sent later either. That of the deletion comes behind it.
    let request = DeleteUserRequest {
        tailnet_id: hooks.tailnet,
        user_id: first,
    };
    let mut users = UserServiceClient::new(hooks.admin());
    users.delete_user(request).await.unwrap();
    let deliveries = hooks.receiver.wait_for(2).await;
    assert_eq!(deliveries[1].kind(), "userDeleted");
    let request = UpdateWebhookRequest {
        tailnet_id: hooks.tailnet,
        webhook_id: id,
        subscriptions: vec!["userCreated".to_owned()],
    };
    hooks.webhooks().update_webhook(request).await.unwrap();
    hooks.create_user(hooks.tailnet, "b@example.com").await;
    let deliveries = hooks.receiver.wait_for(3).await;
    assert_eq!(deliveries[2].event()["data"]["user"], "b@example.com");
}

async fn both_secrets_sign_until_the_old_one_ends(hooks: TestHooks) {
    let (id, old) = hooks.create_webhook(hooks.tailnet, &["userCreated"]).await;
    let request = RotateWebhookSecretRequest {
        tailnet_id: hooks.tailnet,
        webhook_id: id,
    };
    let rotated = hooks
        .webhooks()
        .rotate_webhook_secret(request)
        .await
        .unwrap()
        .into_inner();
    let new = rotated.secret;
    assert_ne!(new, old);
    assert!(rotated.webhook.unwrap().old_secret_ends_at.is_some());
    hooks.create_user(hooks.tailnet, "a@example.com").await;
    let first = hooks.receiver.wait_for(1).await.remove(0);
    for secret in [&new, &old] {
        assert!(first.is_signed_by(secret, hooks.clock.now()));
    }
    hooks.clock.advance(TimeDelta::hours(25));
    hooks.create_user(hooks.tailnet, "b@example.com").await;
    let second = hooks.receiver.wait_for(2).await.remove(1);
    assert!(second.is_signed_by(&new, hooks.clock.now()));
    assert!(!second.is_signed_by(&old, hooks.clock.now()));
}

async fn secrets_are_shown_once_and_webhooks_are_bounded(hooks: TestHooks) {
    let mut secrets = Vec::new();
    for _ in 0..20 {
        secrets.push(
            hooks
                .create_webhook(hooks.tailnet, &["userCreated"])
                .await
                .1,
        );
    }
    let request = hooks.wanted(hooks.tailnet, &["userCreated"]);
    let refused = hooks.webhooks().create_webhook(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(
        refused.message().contains("20 webhooks"),
        "{}",
        refused.message()
    );
    let url = hooks.database().url("identity");
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(&url).await.unwrap();
    let table = hooks.database().table("identity", "webhooks");
    let query = sqlx::AssertSqlSafe(format!("SELECT sealed_secret FROM {table}"));
    let kept: Vec<Vec<u8>> = sqlx::query_scalar(query).fetch_all(&pool).await.unwrap();
    for (kept, secret) in kept.iter().zip(&secrets) {
        assert!(
            !kept
                .windows(secret.len())
                .any(|part| part == secret.as_bytes())
        );
    }
    pool.close().await;
}

async fn bad_requests_change_nothing(hooks: TestHooks) {
    let good = hooks.wanted(hooks.tailnet, &["userCreated"]);
    for bad in [
        CreateWebhookRequest {
            url: "http://example.com/".to_owned(),
            ..good.clone()
        },
        CreateWebhookRequest {
            provider_type: "teams".to_owned(),
            ..good.clone()
        },
        CreateWebhookRequest {
            subscriptions: vec!["nodeMade".to_owned()],
            ..good.clone()
        },
        CreateWebhookRequest {
            subscriptions: vec![],
            ..good.clone()
        },
    ] {
        let refused = hooks.webhooks().create_webhook(bad).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    }
    // Another tailnet's webhook is nobody's.
    let (id, _) = hooks.create_webhook(hooks.tailnet, &["userCreated"]).await;
    let other = hooks.create_tailnet("other").await;
    let request = TestWebhookRequest {
        tailnet_id: other,
        webhook_id: id,
    };
    let refused = hooks.webhooks().test_webhook(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}
