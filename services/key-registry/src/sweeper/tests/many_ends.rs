//! A thousand keys that end in one second.

use bowline_proto::key_registry::v1::registry_change::Change;
use bowline_test_servers::on_both;

use super::*;

const OTHER: u64 = 2;

on_both!(TestRegistry::start => thousand_keys_end_with_one_look_and_nothing_else_does);

async fn read_entries(registry: &TestRegistry, tailnet: u64, revision: u64) -> Vec<Change> {
    let since = ChangesSinceRequest {
        tailnet_id: tailnet,
        revision,
        soft_revision: 0,
    };
    let tailnet = TailnetId::try_from(tailnet).unwrap();
    let answer = registry.changes.read_changes(tailnet, &since).await;
    let entries = answer.unwrap().entries.into_iter();
    entries.map(|entry| entry.change.unwrap()).collect()
}

async fn thousand_keys_end_with_one_look_and_nothing_else_does(mut registry: TestRegistry) {
    let now = registry.log.database().now().await.unwrap();
    let ending = |id, tailnet_id, seconds: Option<i64>| Node {
        tailnet_id,
        key_expiry: seconds.map(|left| domain::to_timestamp(now + TimeDelta::seconds(left))),
        ..node(id)
    };
    for id in 1..=700 {
        registry.put(ending(id, TAILNET, Some(10))).await;
    }
    for id in 701..=1000 {
        registry.put(ending(id, OTHER, Some(10))).await;
    }
    // Some end a second later, and some never.
    for id in 1001..=1010 {
        registry.put(ending(id, TAILNET, Some(12))).await;
        registry.put(ending(id + 100, TAILNET, None)).await;
    }
    registry.clock.advance(TimeDelta::seconds(9));
    registry.sweep().await;
    assert_eq!(registry.count_audited("node.expire").await, 0);
    registry.clock.advance(TimeDelta::seconds(2));
    registry.sweep().await;
    assert_eq!(registry.count_audited("node.expire").await, 1000);
    let ended = domain::to_timestamp(now + TimeDelta::seconds(10));
    for (tailnet, put, ids) in [(TAILNET, 720, 1..=700), (OTHER, 300, 701..=1000)] {
        // Whoever follows is told of each once, and of nobody else.
        let told = read_entries(&registry, tailnet, put).await;
        let mut told: Vec<_> = told
            .into_iter()
            .map(|change| match change {
                Change::Node(node) => {
                    assert!(node.expired && node.key_expiry == Some(ended), "{node:?}");
                    node.id
                }
                other => panic!("{other:?}"),
            })
            .collect();
        told.sort_unstable();
        assert_eq!(told, ids.collect::<Vec<_>>());
    }
    registry.sweep().await;
    assert_eq!(registry.count_audited("node.expire").await, 1000);
    registry.clock.advance(TimeDelta::seconds(2));
    registry.sweep().await;
    assert_eq!(registry.count_audited("node.expire").await, 1010);
}
