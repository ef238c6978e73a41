//! What the steps of the schema make of rows from before.

use bowline_proto::key_registry::v1::{
    Node, RegisterRequest, SetTagsRequest, TaggedBy, node_service_client::NodeServiceClient,
};
use bowline_test_support::{TestDatabase, TestServices, on_both};
use prost::Message as _;
use sqlx::{AnyPool, AssertSqlSafe, Row as _};

use crate::{
    request::{request, with_key},
    returning::log_in,
};

on_both!(TestServices::start => tags_from_before_it_was_kept_who_gave_them_are_told_apart_by_the_trail);

/// The rows of the registry.
struct Rows {
    pool: AnyPool,
    table: String,
    step: String,
}

impl Rows {
    async fn of(services: &TestServices) -> Self {
        let database = &services.database;
        let step = match database {
            TestDatabase::Sqlite(_) => {
                include_str!("../../migrations/sqlite/0005_tagged_by.sql").to_owned()
            }
            TestDatabase::Postgres { .. } => format!(
                "SET search_path TO key_registry; {}",
                include_str!("../../migrations/postgres/0005_tagged_by.sql")
            ),
        };
        let pool = AnyPool::connect(&database.url("registry")).await;
        let (pool, table) = (pool.unwrap(), database.table("key_registry", "nodes"));
        Self { pool, table, step }
    }

    /// Returns the nodes as they are stored.
    async fn nodes(&self) -> Vec<Node> {
        let query = format!("SELECT body FROM {} ORDER BY id", self.table);
        let rows = sqlx::query(AssertSqlSafe(query)).fetch_all(&self.pool);
        let decode = |row: &sqlx::any::AnyRow| {
            let body: Vec<u8> = row.get(0);
            Node::decode(&*body).unwrap()
        };
        rows.await.unwrap().iter().map(decode).collect()
    }

    /// Stores the nodes as they were before it was kept who gave them their tags.
    async fn forget_who_tagged(&self) {
        for node in self.nodes().await {
            let before = Node {
                tagged_by: TaggedBy::Unspecified.into(),
                ..node
            };
            let query = format!("UPDATE {} SET body = $1 WHERE id = $2", self.table);
            sqlx::query(AssertSqlSafe(query))
                .bind(before.encode_to_vec())
                .bind(before.id.cast_signed())
                .execute(&self.pool)
                .await
                .unwrap();
        }
    }
}

async fn tags_from_before_it_was_kept_who_gave_them_are_told_apart_by_the_trail(
    services: TestServices,
) {
    services
        .set_policy(r#"{"tagOwners": {"tag:web": ["amira@example.com"], "tag:db": []}}"#)
        .await;
    let (key, tag_key) = (
        services.new_user_key(true).await,
        services.new_tag_key("tag:db").await,
    );
    let web = vec!["tag:web".to_owned()];
    let asking = |request: RegisterRequest| RegisterRequest {
        requested_tags: web.clone(),
        ..request
    };
    let by_key = services.register_node(with_key(1, 101, &tag_key)).await;
    let by_administrator = services.register_node(with_key(2, 102, &key)).await;
    let by_key_of_user = services.register_node(asking(with_key(3, 103, &key))).await;
    let by_login = log_in(&services, asking(request(4, 104))).await;
    let untagged = services.register_node(with_key(5, 105, &key)).await;
    // An administrator's tags, and then the user logs in on it and asks for others.
    let retaken = services.register_node(with_key(6, 106, &key)).await;
    for node in [&by_administrator, &retaken] {
        let tags = SetTagsRequest {
            tailnet_id: services.tailnet,
            node_id: node.id,
            tags: web.clone(),
        };
        let mut nodes = NodeServiceClient::new(services.admin());
        nodes.set_tags(tags).await.unwrap();
    }
    let again = RegisterRequest {
        old_node_key: vec![106; 32],
        ..asking(request(6, 107))
    };
    log_in(&services, again).await;

    let rows = Rows::of(&services).await;
    rows.forget_who_tagged().await;
    let before = rows.nodes().await;
    sqlx::raw_sql(AssertSqlSafe(rows.step.clone()))
        .execute(&rows.pool)
        .await
        .unwrap();
    let after = rows.nodes().await;
    let tagged_by = |node: &Node| {
        let found = after.iter().find(|found| found.id == node.id);
        found.unwrap().tagged_by()
    };
    assert_eq!(tagged_by(&by_key), TaggedBy::PreAuthKey);
    assert_eq!(tagged_by(&by_administrator), TaggedBy::Administrator);
    for of_user in [&by_key_of_user, &by_login, &untagged, &retaken] {
        assert_eq!(tagged_by(of_user), TaggedBy::Unspecified, "{of_user:?}");
    }
    // Nothing else has changed.
    let mut rest = after;
    for node in &mut rest {
        node.tagged_by = TaggedBy::Unspecified.into();
    }
    assert_eq!(rest, before);
}
