use bowline_proto::key_registry::v1::PreAuthKey;
use bowline_service_kit::Caller;

use super::*;
use crate::sweeper::tests::{TAILNET, TestRegistry, node};

/// A revoked key that registered many nodes, as the audit trail has it.
async fn registry_with_nodes_of_a_key(count: u64) -> TestRegistry {
    let registry = TestRegistry::new().await;
    let tailnet = TailnetId::try_from(TAILNET).unwrap();
    let making = registry
        .log
        .mutate(tailnet, pre_auth_key_actor("leaked"), move |mutation| {
            Box::pin(async move {
                let key = PreAuthKey {
                    id: "leaked".to_owned(),
                    tailnet_id: TAILNET,
                    revoked_at: Some(prost_types::Timestamp::default()),
                    ..PreAuthKey::default()
                };
                pre_auth_keys::insert_key(mutation.connection(), &key, Vec::new()).await?;
                for id in 1..=count {
                    node_changes::write_node(mutation, &node(id), None).await?;
                    mutation.record_audit("node.register", id.to_string(), &json!({}));
                }
                Ok::<_, RegistryError>(())
            })
        });
    making.await.unwrap();
    registry
}

#[tokio::test]
async fn many_keys_end_in_parts_that_go_on_where_they_stopped() {
    let count = 2 * MOST_KEYS as u64 + 1;
    let registry = registry_with_nodes_of_a_key(count).await;
    let tailnet = TailnetId::try_from(TAILNET).unwrap();
    let nodes = registry.nodes();
    let administrator = Caller::Admin {
        name: "test".to_owned(),
    };
    let mut ended = Vec::new();
    for (part, more) in [(MOST_KEYS, true), (MOST_KEYS, true), (1, false), (0, false)] {
        let ending = nodes.expire_nodes_of_key(administrator.clone(), tailnet, "leaked".to_owned());
        let answer = ending.await.unwrap();
        assert_eq!((answer.nodes.len(), answer.more), (part, more));
        ended.extend(answer.nodes.into_iter().map(|node| node.id));
    }
    assert_eq!(ended, (1..=count).collect::<Vec<_>>());
    for id in [1, MOST_KEYS as u64 + 1, count] {
        assert!(registry.node(id).await.unwrap().expired, "{id}");
    }
}
