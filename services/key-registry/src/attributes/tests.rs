use bowline_proto::key_registry::v1::{CustomAttribute, CustomValue, custom_value::Kind};
use bowline_test_servers::TestDatabase;
use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::{
    domain,
    sweeper::tests::{TAILNET, TestRegistry, node},
};

fn attribute(name: &str, end: Option<DateTime<Utc>>) -> CustomAttribute {
    CustomAttribute {
        name: name.to_owned(),
        value: Some(CustomValue {
            kind: Some(Kind::Flag(true)),
        }),
        expires_at: end.map(domain::to_timestamp),
        comment: String::new(),
    }
}

impl TestRegistry {
    /// Adds a node with attributes.
    async fn put_with_attributes(&self, id: u64, attributes: Vec<CustomAttribute>) {
        let node = Node {
            attributes,
            ..node(id)
        };
        self.put(node.clone()).await;
        let tailnet = TailnetId::try_from(TAILNET).unwrap();
        let noting = self.log.mutate(tailnet, "test", move |mutation| {
            Box::pin(async move {
                node_attributes::put_attributes(mutation.connection(), &node).await?;
                Ok::<_, RegistryError>(())
            })
        });
        noting.await.unwrap();
    }

    async fn count_attributes(&self, id: u64) -> usize {
        self.node(id).await.unwrap().attributes.len()
    }
}

async fn attributes_end_at_their_time_and_not_before(mut registry: TestRegistry) {
    let now = bowline_clock::Clock::now(&*registry.clock);
    let at = |seconds| Some(now + TimeDelta::seconds(seconds));
    let first = vec![
        attribute("custom:long", at(20)),
        attribute("custom:never", None),
        attribute("custom:short", at(10)),
    ];
    registry.put_with_attributes(1, first).await;
    registry
        .put_with_attributes(2, vec![attribute("custom:short", at(10))])
        .await;
    let head = registry.head().await;
    registry.pass(9).await;
    assert_eq!(
        (registry.count_attributes(1).await, registry.head().await),
        (3, head)
    );
    registry.pass(1).await;
    assert_eq!(
        (
            registry.count_attributes(1).await,
            registry.count_attributes(2).await
        ),
        (2, 0)
    );
    // One entry of the log for each node, by which followers hear of it; and one of the trail.
    assert_eq!(registry.head().await, head + 2);
    assert_eq!(registry.count_audited("node.end_attributes").await, 2);
    registry.pass(60).await;
    assert_eq!(
        (registry.count_attributes(1).await, registry.head().await),
        (1, head + 3)
    );
}

#[tokio::test]
async fn attributes_end_at_their_time_and_not_before_on_sqlite() {
    attributes_end_at_their_time_and_not_before(TestRegistry::new().await).await;
}

#[tokio::test]
async fn attributes_end_at_their_time_and_not_before_on_postgres() {
    if let Some(database) = TestDatabase::postgres().unwrap() {
        attributes_end_at_their_time_and_not_before(TestRegistry::start(database).await).await;
    }
}
