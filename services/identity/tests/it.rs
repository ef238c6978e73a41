//! The identity service over gRPC, on both databases.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where something is not as expected"
)]

use bowline_bus::Bus;
use bowline_clock::SystemClock;
use bowline_identity::Identity;
use bowline_proto::{
    changes::v1::{ChangesSinceRequest, SnapshotRequest},
    identity::v1::*,
    identity::v1::{
        identity_service_client::IdentityServiceClient, login_service_client::LoginServiceClient,
        tailnet_service_client::TailnetServiceClient, user_service_client::UserServiceClient,
    },
};
use bowline_service_kit::{Caller, GrpcChannel, ServiceName, Shutdown, Tasks};
use bowline_test_servers::PostgresServer;
use prost_types::FieldMask;
use std::{sync::Arc, time::Duration};
use tonic::Code;

/// The service on one database, called as different callers.
struct Served {
    identity: Identity,
    url: String,
    /// What the database lives in.
    _held: Box<dyn std::any::Any>,
}

impl Served {
    async fn on_sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!(
            "sqlite://{}",
            directory.path().join("identity.db").display()
        );
        Self {
            identity: start(&url).await,
            url,
            _held: Box::new(directory),
        }
    }

    async fn on_postgres() -> Option<Self> {
        let server = PostgresServer::shared().unwrap()?;
        let url = server.new_database().unwrap();
        Some(Self {
            identity: start(&url).await,
            url,
            _held: Box::new(server),
        })
    }

    fn channel(&self, caller: Caller) -> GrpcChannel {
        let mut routes = tonic::service::Routes::builder();
        self.identity.add_to(&mut routes);
        GrpcChannel::in_process(routes.routes(), caller)
    }

    fn admin(&self) -> GrpcChannel {
        let caller = Caller::Admin {
            name: "test".to_owned(),
        };
        self.channel(caller)
    }

    fn registry(&self) -> GrpcChannel {
        let caller = Caller::Service(ServiceName::KeyRegistry);
        self.channel(caller)
    }

    async fn tailnet(&self, name: &str) -> Tailnet {
        let request = CreateTailnetRequest {
            name: name.to_owned(),
            settings: None,
        };
        let mut client = TailnetServiceClient::new(self.admin());
        client
            .create_tailnet(request)
            .await
            .unwrap()
            .into_inner()
            .tailnet
            .unwrap()
    }

    async fn user(&self, tailnet_id: u64, login_name: &str) -> Result<User, tonic::Status> {
        let login_name = login_name.to_owned();
        let request = CreateUserRequest {
            tailnet_id,
            login_name,
            ..Default::default()
        };
        let answer = UserServiceClient::new(self.admin())
            .create_user(request)
            .await?;
        Ok(answer.into_inner().user.unwrap())
    }

    async fn approve(&self, login: &Login, user: &User) -> Result<Login, tonic::Status> {
        let request = ApproveLoginRequest {
            login_id: login.id.clone(),
            tailnet_id: user.tailnet_id,
            user_id: user.id,
        };
        let answer = LoginServiceClient::new(self.admin())
            .approve_login(request)
            .await?;
        Ok(answer.into_inner().login.unwrap())
    }

    async fn deny(&self, login: &Login, tailnet: &Tailnet) -> Result<Login, tonic::Status> {
        let request = DenyLoginRequest {
            login_id: login.id.clone(),
            reason: "not ours".to_owned(),
            tailnet_id: tailnet.id,
        };
        let answer = LoginServiceClient::new(self.admin())
            .deny_login(request)
            .await?;
        Ok(answer.into_inner().login.unwrap())
    }

    /// Returns what was decided about a login, as the audit trails of all tailnets tell it.
    async fn audited(&self, login: &Login) -> Vec<String> {
        let table = if self.url.starts_with("sqlite") {
            "audit"
        } else {
            "identity.audit"
        };
        let pool = sqlx::AnyPool::connect(&self.url).await.unwrap();
        let query = format!("SELECT action FROM {table} WHERE object = $1");
        sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .bind(login.id.clone())
            .fetch_all(&pool)
            .await
            .unwrap()
    }

    async fn login(&self, machine: u8, node: u8) -> Result<Login, tonic::Status> {
        let request = StartLoginRequest {
            machine_key: vec![machine; 32],
            node_key: vec![node; 32],
            device: None,
        };
        let answer = LoginServiceClient::new(self.registry())
            .start_login(request)
            .await?;
        Ok(answer.into_inner().login.unwrap())
    }
}

async fn start(url: &str) -> Identity {
    let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
    Identity::start(url, Bus::in_process(), Arc::new(SystemClock), &tasks)
        .await
        .unwrap()
}

/// Runs one case on both databases.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite { $(#[tokio::test] async fn $name() { super::$name(super::Served::on_sqlite().await).await; })* }
        mod postgres { $(#[tokio::test] async fn $name() {
            let Some(served) = super::Served::on_postgres().await else { return };
            super::$name(served).await;
        })* }
    };
}

on_both!(
    names_are_unique_and_errors_say_so,
    follower_sees_every_change_in_order,
    suspended_and_unknown_users_get_no_login,
    approved_login_wakes_who_waits,
    login_is_decided_once_whoever_decides_at_the_same_time,
    repeated_decision_is_audited_once_and_a_contrary_one_is_refused,
    one_machine_can_not_fill_the_queue,
    tailnet_with_users_is_not_deleted,
    callers_may_only_do_what_is_declared,
);

async fn names_are_unique_and_errors_say_so(served: Served) {
    let home = served.tailnet("home").await;
    served.user(home.id, "amira@example.com").await.unwrap();
    let twice = served.user(home.id, "amira@example.com").await.unwrap_err();
    assert_eq!(twice.code(), Code::AlreadyExists);
    let wrong = served.user(home.id, "amira").await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    assert!(wrong.message().contains("login_name"), "{wrong}");
    let nowhere = served
        .user(home.id + 1000, "amira@example.com")
        .await
        .unwrap_err();
    assert_eq!(nowhere.code(), Code::NotFound);
}

async fn follower_sees_every_change_in_order(served: Served) {
    let home = served.tailnet("home").await;
    let user = served.user(home.id, "amira@example.com").await.unwrap();
    let mut client = IdentityServiceClient::new(served.registry());
    let since = |revision| ChangesSinceRequest {
        tailnet_id: home.id,
        revision,
        soft_revision: 0,
    };
    let changes = client.changes_since(since(0)).await.unwrap().into_inner();
    assert_eq!(
        (changes.entries.len(), changes.head, changes.compacted),
        (2, 2, false)
    );
    assert_eq!(
        changes.entries[1].change,
        Some(identity_change::Change::User(user.clone()))
    );
    assert!(
        client
            .changes_since(since(2))
            .await
            .unwrap()
            .into_inner()
            .entries
            .is_empty()
    );

    let request = SnapshotRequest {
        tailnet_id: home.id,
    };
    let mut stream = client.snapshot(request).await.unwrap().into_inner();
    let only = stream.message().await.unwrap().unwrap();
    assert!(only.last && only.revision == 2);
    assert_eq!(
        (only.tailnet.unwrap().name, only.users),
        ("home".to_owned(), vec![user])
    );
}

async fn suspended_and_unknown_users_get_no_login(served: Served) {
    let home = served.tailnet("home").await;
    let user = served.user(home.id, "amira@example.com").await.unwrap();
    let suspended = User {
        suspended: true,
        ..user.clone()
    };
    let update_mask = Some(FieldMask {
        paths: vec!["suspended".to_owned()],
    });
    let request = UpdateUserRequest {
        user: Some(suspended),
        update_mask,
    };
    UserServiceClient::new(served.admin())
        .update_user(request)
        .await
        .unwrap();
    let login = served.login(1, 2).await.unwrap();
    let approve = |user_id| ApproveLoginRequest {
        login_id: login.id.clone(),
        tailnet_id: home.id,
        user_id,
    };
    let mut client = LoginServiceClient::new(served.admin());
    let refused = client.approve_login(approve(user.id)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let unknown = client
        .approve_login(approve(user.id + 7))
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

async fn approved_login_wakes_who_waits(served: Served) {
    let home = served.tailnet("home").await;
    let user = served.user(home.id, "amira@example.com").await.unwrap();
    let login = served.login(1, 2).await.unwrap();
    let again = served.login(1, 2).await.unwrap();
    assert_eq!(
        login.id, again.id,
        "a repeated request joins the login it has"
    );
    let mut waiting = LoginServiceClient::new(served.registry());
    let request = WaitLoginRequest {
        login_id: login.id.clone(),
    };
    let waits = tokio::spawn(async move { waiting.wait_login(request).await });
    let request = ApproveLoginRequest {
        login_id: login.id,
        tailnet_id: home.id,
        user_id: user.id,
    };
    LoginServiceClient::new(served.admin())
        .approve_login(request)
        .await
        .unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(5), waits)
        .await
        .unwrap()
        .unwrap();
    let decided = waited.unwrap().into_inner().login.unwrap();
    assert_eq!(decided.state(), LoginState::Approved);
    assert_eq!((decided.tailnet_id, decided.user_id), (home.id, user.id));
}

async fn login_is_decided_once_whoever_decides_at_the_same_time(served: Served) {
    let (home, work) = (served.tailnet("home").await, served.tailnet("work").await);
    let user = served.user(home.id, "amira@example.com").await.unwrap();
    for round in 0..20 {
        let login = served.login(round, 2).await.unwrap();
        // Two tailnets: nothing but the login itself orders the two.
        let (approved, denied) =
            tokio::join!(served.approve(&login, &user), served.deny(&login, &work));
        let (decided, refused, action) = match (approved, denied) {
            (Ok(decided), Err(refused)) => (decided, refused, "login.approve"),
            (Err(refused), Ok(decided)) => (decided, refused, "login.deny"),
            both => panic!("{both:?}"),
        };
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("already"), "{refused}");
        let request = GetLoginRequest {
            login_id: login.id.clone(),
        };
        let mut client = LoginServiceClient::new(served.registry());
        let kept = client.get_login(request).await.unwrap().into_inner().login;
        assert_eq!(kept, Some(decided));
        assert_eq!(served.audited(&login).await, [action]);
    }
}

async fn repeated_decision_is_audited_once_and_a_contrary_one_is_refused(served: Served) {
    let home = served.tailnet("home").await;
    let user = served.user(home.id, "amira@example.com").await.unwrap();
    let other = served.user(home.id, "noor@example.com").await.unwrap();
    let login = served.login(1, 2).await.unwrap();
    let once = served.approve(&login, &user).await.unwrap();
    assert_eq!(served.approve(&login, &user).await.unwrap(), once);
    assert!(served.approve(&login, &other).await.is_err());
    assert!(served.deny(&login, &home).await.is_err());
    assert_eq!(served.audited(&login).await, ["login.approve"]);

    let login = served.login(1, 3).await.unwrap();
    let once = served.deny(&login, &home).await.unwrap();
    assert_eq!(once.denial, "not ours");
    assert_eq!(served.deny(&login, &home).await.unwrap(), once);
    let refused = served.approve(&login, &user).await.unwrap_err();
    assert!(refused.message().contains("denied already"), "{refused}");
    assert_eq!(served.audited(&login).await, ["login.deny"]);
}

async fn one_machine_can_not_fill_the_queue(served: Served) {
    for node in 0..5 {
        served.login(1, node).await.unwrap();
    }
    let refused = served.login(1, 9).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(bowline_service_kit::retry_after(&refused).is_some());
    served.login(2, 9).await.unwrap();
}

async fn tailnet_with_users_is_not_deleted(served: Served) {
    let home = served.tailnet("home").await;
    let user = served.user(home.id, "amira@example.com").await.unwrap();
    let mut tailnets = TailnetServiceClient::new(served.admin());
    let delete = DeleteTailnetRequest {
        tailnet_id: home.id,
    };
    let refused = tailnets.delete_tailnet(delete).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let request = DeleteUserRequest {
        tailnet_id: home.id,
        user_id: user.id,
    };
    UserServiceClient::new(served.admin())
        .delete_user(request)
        .await
        .unwrap();
    tailnets.delete_tailnet(delete).await.unwrap();

    // Followers see it by the log as by a snapshot.
    let mut client = IdentityServiceClient::new(served.registry());
    let since = ChangesSinceRequest {
        tailnet_id: home.id,
        revision: 3,
        soft_revision: 0,
    };
    let changes = client.changes_since(since).await.unwrap().into_inner();
    let deleted = identity_change::Change::TailnetDeleted(true);
    assert_eq!(changes.entries[0].change, Some(deleted));
    assert_eq!((changes.entries.len(), changes.head), (1, 4));
    let request = SnapshotRequest {
        tailnet_id: home.id,
    };
    let mut stream = client.snapshot(request).await.unwrap().into_inner();
    let only = stream.message().await.unwrap().unwrap();
    assert!(only.last && only.tailnet.is_none() && only.users.is_empty());
    assert_eq!(only.revision, 4);

    let again = served.tailnet("home").await;
    assert!(again.id > home.id, "a number is never used again");
}

async fn callers_may_only_do_what_is_declared(served: Served) {
    let request = CreateTailnetRequest {
        name: "home".to_owned(),
        settings: None,
    };
    let mut client = TailnetServiceClient::new(served.registry());
    let refused = client.create_tailnet(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}
