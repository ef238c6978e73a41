use bowline_bus::Hint;
use bowline_ids::Revision;
use bowline_proto::key_registry::v1::Node;
use bowline_test_servers::on_both;

use super::*;
use crate::sweeper::tests::{TestRegistry, node};

on_both!(TestRegistry::start =>
    first_node_of_a_tailnet_is_found_by_a_hint,
    all_tailnets_with_nodes_are_found_in_the_beginning,
);

const NEVER: Duration = Duration::from_secs(3600);

async fn wait_for(first_nodes: &mut FirstNodes) -> Vec<u64> {
    let waiting = tokio::time::timeout(Duration::from_secs(30), first_nodes.next_tailnets());
    let found = waiting.await.expect("nobody waits for the next look");
    found.into_iter().map(TailnetId::get).collect()
}

/// Puts a node into each of some tailnets.
async fn put_nodes(registry: &TestRegistry, tailnets: impl IntoIterator<Item = u64>) {
    for tailnet_id in tailnets {
        let of_tailnet = node(100 + tailnet_id);
        registry
            .put(Node {
                tailnet_id,
                ..of_tailnet
            })
            .await;
    }
}

async fn first_node_of_a_tailnet_is_found_by_a_hint(registry: TestRegistry) {
    put_nodes(&registry, [1]).await;
    let bus = Bus::in_process();
    let database = registry.log.database().clone();
    let mut first_nodes = FirstNodes::new(database, &bus, NEVER);
    assert_eq!(wait_for(&mut first_nodes).await, [1]);
    put_nodes(&registry, [2, 3]).await;
    // Tailnet 4 has no nodes, tailnet 1 is known.
    for tailnet in [4_u64, 1, 3] {
        let hint = Hint {
            tailnet: TailnetId::try_from(tailnet).unwrap(),
            revision: Revision::new(1),
            soft_revision: 0,
        };
        bus.publish(LogOwner::KeyRegistry, hint);
    }
    assert_eq!(wait_for(&mut first_nodes).await, [3]);
}

async fn all_tailnets_with_nodes_are_found_in_the_beginning(registry: TestRegistry) {
    put_nodes(&registry, [7, 2, 1 << 40]).await;
    registry.put(node(1)).await;
    registry.put(node(2)).await;
    let own = node(1).tailnet_id;
    let database = registry.log.database().clone();
    let mut first_nodes = FirstNodes::new(database, &Bus::in_process(), NEVER);
    let mut expected = vec![7, 2, 1 << 40, own];
    expected.sort_unstable();
    assert_eq!(wait_for(&mut first_nodes).await, expected);
}
