//! The identity service over gRPC, on both databases.

#![expect(
    clippy::disallowed_methods,
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
use prost::Message as _;
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

    fn admin(&self) -> GrpcChannel {
        channel(&self.identity, admin())
    }

    fn registry(&self) -> GrpcChannel {
        channel(&self.identity, Caller::Service(ServiceName::KeyRegistry))
    }

    /// Returns how a statement names a table.
    fn table(&self, name: &str) -> String {
        if self.url.starts_with("sqlite") {
            name.to_owned()
        } else {
            format!("identity.{name}")
        }
    }

    /// Returns what the audit trails of all tailnets say of an action, oldest first.
    async fn details(&self, action: &str) -> Vec<serde_json::Value> {
        let pool = sqlx::AnyPool::connect(&self.url).await.unwrap();
        let query = format!(
            "SELECT detail FROM {} WHERE action = $1 ORDER BY sequence",
            self.table("audit")
        );
        let details: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .bind(action.to_owned())
            .fetch_all(&pool)
            .await
            .unwrap();
        let read = |detail: &String| serde_json::from_str(detail).unwrap();
        details.iter().map(read).collect()
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
        let pool = sqlx::AnyPool::connect(&self.url).await.unwrap();
        let query = format!(
            "SELECT action FROM {} WHERE object = $1",
            self.table("audit")
        );
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

fn admin() -> Caller {
    Caller::Admin {
        name: "test".to_owned(),
    }
}

fn channel(identity: &Identity, caller: Caller) -> GrpcChannel {
    let mut routes = tonic::service::Routes::builder();
    identity.add_to(&mut routes);
    GrpcChannel::in_process(routes.routes(), caller)
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
    login_names_that_differ_in_case_are_one_and_users_from_before_stay,
    dns_settings_change_together_and_the_trail_has_before_and_after,
    trail_says_what_changed_of_users_and_tailnets,
    follower_sees_every_change_in_order,
    suspended_and_unknown_users_get_no_login,
    approved_login_wakes_who_waits,
    login_is_decided_once_whoever_decides_at_the_same_time,
    repeated_decision_is_audited_once_and_a_contrary_one_is_refused,
    one_machine_can_not_fill_the_queue,
    networks_have_limits_that_more_addresses_do_not_lift,
    when_all_are_too_many_those_nobody_waits_for_go_heaviest_network_first,
    where_clients_wait_for_all_logins_the_oldest_of_the_heaviest_network_go,
    decision_at_another_replica_wakes_all_who_wait,
    those_who_wait_are_bounded,
    approval_says_in_the_trail_which_device,
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

async fn login_names_that_differ_in_case_are_one_and_users_from_before_stay(served: Served) {
    let home = served.tailnet("home").await;
    let first = served.user(home.id, "Ämira@Example.com").await.unwrap();
    assert_eq!(first.login_name, "Ämira@Example.com");
    let refused = served.user(home.id, "äMIRA@example.COM").await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert!(refused.message().contains("Ämira@Example.com"), "{refused}");
    let work = served.tailnet("work").await;
    served.user(work.id, "ämira@example.com").await.unwrap();

    // Two users as an older release let them in: both are there, and neither name is given a third time.
    let query = format!(
        "INSERT INTO {} (id, tailnet_id, login_name, body) VALUES ($1, $2, $3, $4)",
        served.table("users")
    );
    let pool = sqlx::AnyPool::connect(&served.url).await.unwrap();
    for (id, login_name) in [(9001, "Noor@example.com"), (9002, "noor@example.com")] {
        let user = User {
            id,
            tailnet_id: home.id,
            login_name: login_name.to_owned(),
            role: Role::Member.into(),
            ..User::default()
        };
        sqlx::query(sqlx::AssertSqlSafe(query.clone()))
            .bind(id.cast_signed())
            .bind(home.id.cast_signed())
            .bind(login_name)
            .bind(user.encode_to_vec())
            .execute(&pool)
            .await
            .unwrap();
    }
    for _ in 0..2 {
        let refused = served.user(home.id, "NOOR@example.com").await.unwrap_err();
        assert_eq!(refused.code(), Code::AlreadyExists);
        let again = start(&served.url).await;
        let mut users = UserServiceClient::new(channel(&again, admin()));
        let request = ListUsersRequest {
            tailnet_id: home.id,
        };
        let listed = users.list_users(request).await.unwrap().into_inner().users;
        assert_eq!(listed.len(), 3);
        let update = UpdateUserRequest {
            user: Some(User {
                suspended: true,
                ..listed.into_iter().find(|user| user.id == 9002).unwrap()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["suspended".to_owned()],
            }),
        };
        users.update_user(update).await.unwrap();
    }
}

async fn dns_settings_change_together_and_the_trail_has_before_and_after(served: Served) {
    let home = served.tailnet("home").await;
    let mut client = TailnetServiceClient::new(served.admin());
    let request = |changes: Vec<dns_change::Change>| UpdateDnsRequest {
        tailnet_id: home.id,
        changes: changes
            .into_iter()
            .map(|change| DnsChange {
                change: Some(change),
            })
            .collect(),
    };
    let servers = |value: &str| {
        dns_change::Change::Nameservers(DnsNames {
            values: vec![value.to_owned()],
        })
    };
    // All or nothing.
    let wrong = request(vec![servers("1.1.1.1"), servers("dns.test")]);
    let refused = client.update_dns(wrong).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let changes = vec![
        servers("1.1.1.1"),
        dns_change::Change::OverrideLocal(true),
        dns_change::Change::MagicDnsSuffix("corp.test".to_owned()),
    ];
    let mut changed = Vec::new();
    for _ in 0..2 {
        let answer = client.update_dns(request(changes.clone())).await.unwrap();
        changed.push(answer.into_inner().tailnet.unwrap());
    }
    assert_eq!(changed[0], changed[1]);
    let dns = changed[0].dns.clone().unwrap();
    assert!(dns.override_local && dns.magic_dns);
    assert_eq!(changed[0].magic_dns_suffix, "corp.test");

    // The second time changed nothing: one entry in the log and in the trail.
    let since = ChangesSinceRequest {
        tailnet_id: home.id,
        revision: 1,
        soft_revision: 0,
    };
    let mut follower = IdentityServiceClient::new(served.registry());
    let followed = follower.changes_since(since).await.unwrap().into_inner();
    assert_eq!(followed.entries.len(), 1);
    let trail = served.details("dns.update").await;
    let expected = serde_json::json!({
        "before": { "nameservers": [], "override_local": false, "magic_dns_suffix": "home.bowline.internal" },
        "after": { "nameservers": ["1.1.1.1"], "override_local": true, "magic_dns_suffix": "corp.test" },
    });
    assert_eq!(trail, [expected]);
}

async fn trail_says_what_changed_of_users_and_tailnets(served: Served) {
    let home = served.tailnet("home").await;
    let user = served.user(home.id, "amira@example.com").await.unwrap();
    let update_mask = |path: &str| {
        Some(FieldMask {
            paths: vec![path.to_owned()],
        })
    };
    let request = UpdateUserRequest {
        user: Some(User {
            role: Role::ItAdmin.into(),
            ..user
        }),
        update_mask: update_mask("role"),
    };
    let mut users = UserServiceClient::new(served.admin());
    users.update_user(request).await.unwrap();
    let request = UpdateTailnetRequest {
        tailnet: Some(Tailnet {
            require_key_proof: true,
            ..home
        }),
        update_mask: update_mask("require_key_proof"),
    };
    let mut tailnets = TailnetServiceClient::new(served.admin());
    tailnets.update_tailnet(request).await.unwrap();
    assert_eq!(
        served.details("user.update").await,
        [serde_json::json!({ "before": { "role": "member" }, "after": { "role": "it-admin" } })]
    );
    assert_eq!(
        served.details("tailnet.update").await,
        [serde_json::json!({
            "before": { "require_key_proof": false },
            "after": { "require_key_proof": true },
        })]
    );
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

impl Served {
    async fn login_from(&self, key: u32, source: &str) -> Result<Login, tonic::Status> {
        let mut machine_key = vec![7; 32];
        machine_key[..4].copy_from_slice(&key.to_be_bytes());
        let device = Device {
            hostname: "laptop".to_owned(),
            os: "linux".to_owned(),
            client_version: "1.102.5".to_owned(),
            source_address: source.to_owned(),
            ..Device::default()
        };
        let request = StartLoginRequest {
            machine_key,
            node_key: vec![1; 32],
            device: Some(device),
        };
        let mut client = LoginServiceClient::new(self.registry());
        let answer = client.start_login(request).await?;
        Ok(answer.into_inner().login.unwrap())
    }

    /// Writes pending logins as replicas write them; they began `age` ago, and clients waited for them `followed` ago.
    async fn pending(&self, count: u32, source: &str, age: u64, followed: Option<u64>) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = i64::try_from(now.unwrap().as_secs()).unwrap();
        let ago = |seconds: u64| (now - seconds.cast_signed()) * 1_000_000;
        let (near, middle, far) = networks(source);
        let pool = sqlx::AnyPool::connect(&self.url).await.unwrap();
        let query = format!(
            "INSERT INTO {} (id, pending, machine_key, source, near, middle, far, expires_at, followed_at, body)
             VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $9)",
            self.table("logins")
        );
        let mut transaction = pool.begin().await.unwrap();
        for number in 0..count {
            let id = format!("{source} {number}");
            let login = Login {
                id: id.clone(),
                state: LoginState::Pending.into(),
                ..Login::default()
            };
            sqlx::query(sqlx::AssertSqlSafe(query.clone()))
                .bind(id)
                .bind(vec![9_u8; 32])
                .bind(source.to_owned())
                .bind(near.clone())
                .bind(middle.clone())
                .bind(far.clone())
                .bind(ago(age) + 900 * 1_000_000 + i64::from(number))
                .bind(followed.map_or(0, ago))
                .bind(login.encode_to_vec())
                .execute(&mut *transaction)
                .await
                .unwrap();
        }
        transaction.commit().await.unwrap();
    }

    /// Counts the pending logins of a source.
    async fn waiting(&self, source: &str) -> i64 {
        let pool = sqlx::AnyPool::connect(&self.url).await.unwrap();
        let query = format!(
            "SELECT CAST(COUNT(*) AS BIGINT) FROM {} WHERE source = $1",
            self.table("logins")
        );
        let count = sqlx::query_scalar(sqlx::AssertSqlSafe(query)).bind(source.to_owned());
        count.fetch_one(&pool).await.unwrap()
    }
}

/// Returns the networks of an address of `192.0.N.M` or `2001:db8:0:NNNN::`.
fn networks(source: &str) -> (String, String, String) {
    match source.rsplit_once('.') {
        Some((network, _)) => {
            let own = format!("{source}/32");
            (own.clone(), own, format!("{network}.0/24"))
        }
        None => {
            let subnet = u16::from_str_radix(source.split(':').nth(3).unwrap(), 16).unwrap();
            let near = format!("2001:db8:0:{subnet:x}::/64");
            let middle = match subnet & 0xff00 {
                0 => "2001:db8::/56".to_owned(),
                of => format!("2001:db8:0:{of:x}::/56"),
            };
            (near, middle, "2001:db8::/48".to_owned())
        }
    }
}

async fn networks_have_limits_that_more_addresses_do_not_lift(served: Served) {
    for subnet in 1..=25 {
        served
            .pending(4, &format!("2001:db8:0:{subnet:x}::"), 60, None)
            .await;
    }
    let refused = served.login_from(1, "2001:db8:0:77::").await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "a /56");
    served.login_from(2, "2001:db8:0:177::").await.unwrap();
    for subnet in 0x101..=0x119 {
        let source = format!("2001:db8:0:{subnet:x}::");
        served.pending(4, &source, 60, None).await;
    }
    let refused = served.login_from(4, "2001:db8:0:277::").await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "a /48");
    assert!(
        refused.message().starts_with("too many logins") && !refused.message().contains('{'),
        "{refused}"
    );
    assert!(bowline_service_kit::retry_after(&refused).is_some());
    served.login_from(5, "192.0.2.7").await.unwrap();
}

async fn when_all_are_too_many_those_nobody_waits_for_go_heaviest_network_first(served: Served) {
    // Heavy, but waited for; heavy; light; and heavy, but so new that its clients can not have come back.
    served.pending(4000, "192.0.2.1", 300, Some(5)).await;
    served.pending(3000, "192.0.3.1", 200, Some(300)).await;
    served.pending(1000, "192.0.4.1", 400, None).await;
    served.pending(2000, "192.0.5.1", 0, None).await;
    served.login_from(1, "192.0.9.1").await.unwrap();
    let all = [
        "192.0.2.1",
        "192.0.3.1",
        "192.0.4.1",
        "192.0.5.1",
        "192.0.9.1",
    ];
    let mut left = Vec::new();
    for source in all {
        left.push(served.waiting(source).await);
    }
    assert_eq!(left, [4000, 2900, 1000, 2000, 1]);
    let oldest = GetLoginRequest {
        login_id: "192.0.3.1 99".to_owned(),
    };
    let mut client = LoginServiceClient::new(served.registry());
    let gone = client.get_login(oldest).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
}

async fn where_clients_wait_for_all_logins_the_oldest_of_the_heaviest_network_go(served: Served) {
    for network in 1..=50 {
        let source = format!("192.0.{network}.1");
        // Together 10,000; one network has more than the others.
        let count = if network == 7 { 249 } else { 199 };
        served.pending(count, &source, 300, Some(5)).await;
    }
    served.login_from(1, "192.0.99.1").await.unwrap();
    assert_eq!(served.waiting("192.0.7.1").await, 239);
    assert_eq!(served.waiting("192.0.8.1").await, 199);
    let mut client = LoginServiceClient::new(served.registry());
    for (number, is_gone) in [(0, true), (9, true), (10, false), (248, false)] {
        let request = GetLoginRequest {
            login_id: format!("192.0.7.1 {number}"),
        };
        let found = client.get_login(request).await;
        assert_eq!(found.is_err(), is_gone, "{number}");
    }
}

async fn decision_at_another_replica_wakes_all_who_wait(served: Served) {
    let home = served.tailnet("home").await;
    let user = served.user(home.id, "amira@example.com").await.unwrap();
    let other = start(&served.url).await;
    let mut waits = tokio::task::JoinSet::new();
    let mut logins = Vec::new();
    for key in 0..20 {
        let login = served.login_from(key, "192.0.2.7").await.unwrap();
        for _ in 0..2 {
            let registry = Caller::Service(ServiceName::KeyRegistry);
            let mut client = LoginServiceClient::new(channel(&other, registry));
            let request = WaitLoginRequest {
                login_id: login.id.clone(),
            };
            waits.spawn(async move { client.wait_login(request).await });
        }
        logins.push(login);
    }
    // Waited for: noted, so that they are not let go.
    let pool = sqlx::AnyPool::connect(&served.url).await.unwrap();
    let followed = format!(
        "SELECT CAST(COUNT(*) AS BIGINT) FROM {} WHERE followed_at > 0",
        served.table("logins")
    );
    let noted = async {
        loop {
            let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(followed.clone()))
                .fetch_one(&pool)
                .await
                .unwrap();
            if count == 20 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), noted)
        .await
        .unwrap();
    for login in &logins {
        served.approve(login, &user).await.unwrap();
    }
    let all = tokio::time::timeout(Duration::from_secs(20), waits.join_all());
    for waited in all.await.unwrap() {
        let login = waited.unwrap().into_inner().login.unwrap();
        assert_eq!(login.state(), LoginState::Approved);
    }
}

async fn those_who_wait_are_bounded(served: Served) {
    let login = served.login(1, 2).await.unwrap();
    let mut waits = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let mut client = LoginServiceClient::new(served.registry());
        let request = WaitLoginRequest {
            login_id: login.id.clone(),
        };
        waits.spawn(async move { client.wait_login(request).await });
    }
    // Four wait; the one that is too many is told at once.
    let first = tokio::time::timeout(Duration::from_secs(20), waits.join_next());
    let refused = first.await.unwrap().unwrap().unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(
        refused.message().contains("waited for already"),
        "{refused}"
    );
}

async fn approval_says_in_the_trail_which_device(served: Served) {
    let home = served.tailnet("home").await;
    let user = served.user(home.id, "amira@example.com").await.unwrap();
    let login = served.login_from(1, "192.0.2.7").await.unwrap();
    served.approve(&login, &user).await.unwrap();
    let details = served.details("login.approve").await;
    assert_eq!(details[0]["user"], "amira@example.com");
    let device = &details[0]["device"];
    assert_eq!(
        (&device["hostname"], &device["os"], &device["source"]),
        (&"laptop".into(), &"linux".into(), &"192.0.2.7".into())
    );
    let key = device["machine_key"].as_str().unwrap();
    assert!(key.starts_with("mkey:00000001") && key.len() == 69, "{key}");
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
