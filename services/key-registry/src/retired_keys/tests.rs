use bowline_ids::TailnetId;
use bowline_proto::key_registry::v1::{
    FormerHolder, Node, RefusalReason, RegisterRequest, register_response::Outcome,
};
use bowline_test_servers::on_both;

use super::*;
use crate::{
    node_changes,
    store::node_keys,
    sweeper::tests::{TAILNET, TestRegistry, node},
};

on_both!(TestRegistry::start =>
    retired_keys_shrink_to_a_hash_and_are_bound_to_nobody_again,
    keys_that_an_earlier_release_retired_are_found_and_shrink_too,
    short_lived_nodes_leave_one_short_row_each,
);

async fn delete(registry: &TestRegistry, id: u64) {
    let tailnet = TailnetId::try_from(TAILNET).unwrap();
    let deleting = registry.log.mutate(tailnet, "test", move |mutation| {
        Box::pin(async move { node_changes::delete_node(mutation, &node(id)).await })
    });
    deleting.await.unwrap();
}

async fn bind(registry: &TestRegistry, bound: Node) -> Result<(), RegistryError> {
    let tailnet = TailnetId::try_from(TAILNET).unwrap();
    let binding = registry.log.mutate(tailnet, "test", move |mutation| {
        Box::pin(async move {
            let now = mutation.now();
            node_keys::bind_key(mutation.connection(), &bound, now).await?;
            Ok::<_, RegistryError>(())
        })
    });
    binding.await.map(|_| ())
}

async fn holder(registry: &TestRegistry, id: u64, machine: &[u8]) -> Option<FormerHolder> {
    let mut on = registry.log.database().reader().acquire().await.unwrap();
    let key = node(id).node_key;
    let found = node_keys::holder_of_key(&mut on, &key, machine);
    found.await.unwrap()
}

fn request(id: u64, machine: u64) -> RegisterRequest {
    RegisterRequest {
        node_key: node(id).node_key,
        machine_key: node(machine).machine_key,
        ..RegisterRequest::default()
    }
}

async fn retired_keys_shrink_to_a_hash_and_are_bound_to_nobody_again(registry: TestRegistry) {
    for id in [1, 2] {
        registry.put(node(id)).await;
    }
    registry.clock.advance(TimeDelta::days(90));
    delete(&registry, 1).await;
    registry.clock.advance(TimeDelta::days(29));
    shrink_old_keys(&registry.log).await.unwrap();
    assert_eq!(
        registry.count_rows("node_keys").await,
        2,
        "retired for 29 days"
    );
    registry.clock.advance(TimeDelta::days(2));
    shrink_old_keys(&registry.log).await.unwrap();
    shrink_old_keys(&registry.log).await.unwrap();
    let rows = (
        registry.count_rows("node_keys").await,
        registry.count_rows("retired_keys").await,
    );
    assert_eq!(rows, (1, 1), "the other node has its key still");
    // Who had it is known to its machine alone, and nobody has it ever again.
    let own = node(1).machine_key;
    let expected = FormerHolder {
        machine_key: own.clone(),
        node_id: 1,
    };
    assert_eq!(holder(&registry, 1, &own).await, Some(expected));
    let other = holder(&registry, 1, &node(2).machine_key).await.unwrap();
    assert!(other.machine_key.is_empty(), "{other:?}");
    for holder in [1, 3] {
        let again = Node {
            node_key: node(1).node_key,
            ..node(holder)
        };
        let refused = bind(&registry, again).await.unwrap_err();
        assert!(refused.is_conflict("node_keys_pkey"), "{refused}");
    }
    let registration = registry.registration();
    let mut told = Vec::new();
    for machine in [1, 3] {
        let answer = registration.register_key(request(1, machine)).await;
        told.push(answer.unwrap().outcome.unwrap());
    }
    assert!(matches!(told[0], Outcome::KeyExpired(_)), "{told:?}");
    let Outcome::Refused(refused) = &told[1] else {
        panic!("{told:?}")
    };
    assert_eq!(refused.reason(), RefusalReason::NodeKeyOfAnotherMachine);
    // Neither may another machine name it as its old one.
    let thief = RegisterRequest {
        old_node_key: node(1).node_key,
        ..request(4, 4)
    };
    let answer = registration.register_key(thief).await.unwrap();
    assert!(matches!(answer.outcome, Some(Outcome::Refused(_))));
}

async fn keys_that_an_earlier_release_retired_are_found_and_shrink_too(registry: TestRegistry) {
    for id in 1..=3 {
        registry.put(node(id)).await;
    }
    delete(&registry, 2).await;
    delete(&registry, 3).await;
    registry
        .execute("UPDATE node_keys SET retired_at = NULL")
        .await;
    registry.clock.advance(TimeDelta::days(90));
    shrink_old_keys(&registry.log).await.unwrap();
    assert_eq!(registry.count_rows("node_keys").await, 3);
    find_retired_keys(&registry.log).await.unwrap();
    registry.clock.advance(TimeDelta::days(31));
    shrink_old_keys(&registry.log).await.unwrap();
    let rows = (
        registry.count_rows("node_keys").await,
        registry.count_rows("retired_keys").await,
    );
    assert_eq!(rows, (1, 2));
}

async fn short_lived_nodes_leave_one_short_row_each(mut registry: TestRegistry) {
    registry.living = vec!["g"];
    for id in 1..=300 {
        let ephemeral = Node {
            ephemeral: true,
            ..node(id)
        };
        registry.put(ephemeral).await;
    }
    registry.clock.advance(TimeDelta::days(1));
    registry.pass(400).await;
    registry.clock.advance(TimeDelta::days(31));
    shrink_old_keys(&registry.log).await.unwrap();
    for table in ["nodes", "node_keys", "soft_states", "adoptions", "paces"] {
        assert_eq!(registry.count_rows(table).await, 0, "{table}");
    }
    assert_eq!(registry.count_rows("retired_keys").await, 300);
}
