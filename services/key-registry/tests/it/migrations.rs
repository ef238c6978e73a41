//! What the steps of the schema make of rows from before.

use bowline_proto::key_registry::v1::{
    Node, RegisterRequest, SetTagsRequest, TaggedBy, node_service_client::NodeServiceClient,
};
use prost::Message as _;
use sqlx::{AnyPool, AssertSqlSafe, Row as _};

use crate::{
    returning::log_in,
    served::{Place, Served, on_both, request, with_key},
};

on_both!(tags_from_before_it_was_kept_who_gave_them_are_told_apart_by_the_trail);

/// The rows of the registry.
struct Rows {
    pool: AnyPool,
    table: &'static str,
    step: String,
}

impl Rows {
    async fn of(served: &Served) -> Self {
        let pool = AnyPool::connect(&served.place.url("registry")).await;
        let (table, step) = match served.place {
            Place::Sqlite(_) => (
                "nodes",
                include_str!("../../migrations/sqlite/0005_tagged_by.sql").to_owned(),
            ),
            Place::Postgres { .. } => (
                "key_registry.nodes",
                format!(
                    "SET search_path TO key_registry; {}",
                    include_str!("../../migrations/postgres/0005_tagged_by.sql")
                ),
            ),
        };
        let pool = pool.unwrap();
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

async fn tags_from_before_it_was_kept_who_gave_them_are_told_apart_by_the_trail(served: Served) {
    served
        .set_policy(r#"{"tagOwners": {"tag:web": ["amira@example.com"], "tag:db": []}}"#)
        .await;
    let (key, tag_key) = (served.key(true).await, served.tag_key("tag:db").await);
    let web = vec!["tag:web".to_owned()];
    let asking = |request: RegisterRequest| RegisterRequest {
        requested_tags: web.clone(),
        ..request
    };
    let by_key = served.registered(with_key(1, 101, &tag_key)).await;
    let by_administrator = served.registered(with_key(2, 102, &key)).await;
    let by_key_of_user = served.registered(asking(with_key(3, 103, &key))).await;
    let by_login = log_in(&served, asking(request(4, 104))).await;
    let untagged = served.registered(with_key(5, 105, &key)).await;
    // An administrator's tags, and then the user logs in on it and asks for others.
    let retaken = served.registered(with_key(6, 106, &key)).await;
    for node in [&by_administrator, &retaken] {
        let tags = SetTagsRequest {
            tailnet_id: served.tailnet,
            node_id: node.id,
            tags: web.clone(),
        };
        let mut nodes = NodeServiceClient::new(served.admin());
        nodes.set_tags(tags).await.unwrap();
    }
    let again = RegisterRequest {
        old_node_key: vec![106; 32],
        ..asking(request(6, 107))
    };
    log_in(&served, again).await;

    let rows = Rows::of(&served).await;
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
