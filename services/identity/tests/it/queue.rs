//! How many logins wait at the same time.

use bowline_proto::identity::v1::login_service_client::LoginServiceClient;
use bowline_proto::identity::v1::{GetLoginRequest, Login, LoginState};
use bowline_test_servers::on_both;
use prost::Message as _;
use tonic::Code;

use crate::identity::TestIdentity;

on_both!(TestIdentity::start =>
    one_machine_can_not_fill_the_queue,
    networks_have_limits_that_more_addresses_do_not_lift,
    when_all_are_too_many_those_nobody_waits_for_go_heaviest_network_first,
    where_clients_wait_for_all_logins_the_oldest_of_the_heaviest_network_go,
);

async fn one_machine_can_not_fill_the_queue(identity: TestIdentity) {
    for node in 0..5 {
        identity.start_login(1, node).await.unwrap();
    }
    let refused = identity.start_login(1, 9).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(bowline_service_kit::retry_after(&refused).is_some());
    identity.start_login(2, 9).await.unwrap();
}

async fn networks_have_limits_that_more_addresses_do_not_lift(identity: TestIdentity) {
    for subnet in 1..=25 {
        identity
            .insert_pending(4, &format!("2001:db8:0:{subnet:x}::"), 60, None)
            .await;
    }
    let refused = identity
        .start_login_from(1, "2001:db8:0:77::")
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "a /56");
    identity
        .start_login_from(2, "2001:db8:0:177::")
        .await
        .unwrap();
    for subnet in 0x101..=0x119 {
        let source = format!("2001:db8:0:{subnet:x}::");
        identity.insert_pending(4, &source, 60, None).await;
    }
    let refused = identity
        .start_login_from(4, "2001:db8:0:277::")
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "a /48");
    assert!(
        refused.message().starts_with("too many logins") && !refused.message().contains('{'),
        "{refused}"
    );
    assert!(bowline_service_kit::retry_after(&refused).is_some());
    identity.start_login_from(5, "192.0.2.7").await.unwrap();
}

async fn when_all_are_too_many_those_nobody_waits_for_go_heaviest_network_first(
    identity: TestIdentity,
) {
    // Heavy, but waited for; heavy; light; and heavy, but so new that its clients can not have come back.
    identity
        .insert_pending(4000, "192.0.2.1", 300, Some(5))
        .await;
    identity
        .insert_pending(3000, "192.0.3.1", 200, Some(300))
        .await;
    identity.insert_pending(1000, "192.0.4.1", 400, None).await;
    identity.insert_pending(2000, "192.0.5.1", 0, None).await;
    identity.start_login_from(1, "192.0.9.1").await.unwrap();
    let all = [
        "192.0.2.1",
        "192.0.3.1",
        "192.0.4.1",
        "192.0.5.1",
        "192.0.9.1",
    ];
    let mut left = Vec::new();
    for source in all {
        left.push(identity.pending_count(source).await);
    }
    assert_eq!(left, [4000, 2900, 1000, 2000, 1]);
    let oldest = GetLoginRequest {
        login_id: "192.0.3.1 99".to_owned(),
    };
    let mut client = LoginServiceClient::new(identity.registry());
    let gone = client.get_login(oldest).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
}

async fn where_clients_wait_for_all_logins_the_oldest_of_the_heaviest_network_go(
    identity: TestIdentity,
) {
    for network in 1..=50 {
        let source = format!("192.0.{network}.1");
        // Together 10,000; one network has more than the others.
        let count = if network == 7 { 249 } else { 199 };
        identity.insert_pending(count, &source, 300, Some(5)).await;
    }
    identity.start_login_from(1, "192.0.99.1").await.unwrap();
    assert_eq!(identity.pending_count("192.0.7.1").await, 239);
    assert_eq!(identity.pending_count("192.0.8.1").await, 199);
    let mut client = LoginServiceClient::new(identity.registry());
    for (number, is_gone) in [(0, true), (9, true), (10, false), (248, false)] {
        let request = GetLoginRequest {
            login_id: format!("192.0.7.1 {number}"),
        };
        let found = client.get_login(request).await;
        assert_eq!(found.is_err(), is_gone, "{number}");
    }
}

impl TestIdentity {
    /// Writes pending logins as replicas write them; they began `age` ago, and clients waited for them `followed` ago.
    pub(crate) async fn insert_pending(
        &self,
        count: u32,
        source: &str,
        age: u64,
        followed: Option<u64>,
    ) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = i64::try_from(now.unwrap().as_secs()).unwrap();
        let ago = |seconds: u64| (now - seconds.cast_signed()) * 1_000_000;
        let (near, middle, far) = networks(source);
        let pool = sqlx::AnyPool::connect(&self.url()).await.unwrap();
        let query = format!(
            "INSERT INTO {} (id, pending, machine_key, source, near, middle, far, expires_at, followed_at, body)
             VALUES ($1, 1, $2, $3, $4, $5, $6, $7, $8, $9)",
            self.table("logins")
        );
        #[expect(clippy::disallowed_methods, reason = "nobody goes away here")]
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

    /// Lets a login end so many seconds earlier.
    pub(crate) async fn make_login_older(&self, id: &str, seconds: i64) {
        let pool = sqlx::AnyPool::connect(&self.url()).await.unwrap();
        let table = self.table("logins");
        let query = format!("UPDATE {table} SET expires_at = expires_at - $1 WHERE id = $2");
        let query = sqlx::query(sqlx::AssertSqlSafe(query)).bind(seconds * 1_000_000);
        query.bind(id.to_owned()).execute(&pool).await.unwrap();
    }

    /// Counts the pending logins of a source.
    pub(crate) async fn pending_count(&self, source: &str) -> i64 {
        let pool = sqlx::AnyPool::connect(&self.url()).await.unwrap();
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
