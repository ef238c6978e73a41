//! Ephemeral nodes: when they go, and when not yet.

use super::*;

#[tokio::test]
async fn ephemeral_node_goes_when_its_session_is_known_to_have_ended_long_enough_ago() {
    let mut registry = TestRegistry::new().await;
    registry.living = vec!["other", "g"];
    for id in 1..=3 {
        registry.put(ephemeral(id)).await;
    }
    registry.begin("g", 1, 0).await;
    let epoch = registry.begin("g", 2, 0).await;
    // Online for longer than an ephemeral node is kept.
    registry.pass(400).await;
    for id in 1..=3 {
        assert!(registry.node(id).await.is_some(), "{id}");
    }
    // The end of a session is reported, then the gateway is heard of no more.
    let ended = NodeReport {
        presence: Some(presence("g", epoch, false)),
        ..report(2)
    };
    registry.report("g", vec![ended]).await;
    registry.living = vec!["other"];
    registry.pass(300).await;
    assert!(registry.node(2).await.is_some());
    // The registry was away: what passed meanwhile does not count.
    registry.clock.advance(TimeDelta::seconds(200));
    registry.pass(300).await;
    assert!(registry.node(2).await.is_some());
    registry.pass(8).await;
    assert!(registry.node(2).await.is_none());
    // The other's session may go on, for as long as the gateway can serve it without the registry.
    assert!(!registry.soft(1).await.online);
    registry.pass(2700).await;
    assert!(registry.node(1).await.is_some());
    registry.pass(200).await;
    assert!(registry.node(1).await.is_none());
    assert_eq!(registry.gateways().await, ["other"]);
    // The third never came after its registration: it may not have reached a gateway yet.
    assert!(registry.node(3).await.is_some());
    registry.clock.advance(TimeDelta::hours(23));
    registry.pass(400).await;
    assert!(registry.node(3).await.is_none());
}

#[tokio::test]
async fn ephemeral_node_that_only_logged_in_is_given_a_day() {
    let mut registry = TestRegistry::new().await;
    registry.living = vec!["g"];
    registry.put(ephemeral(1)).await;
    // What its client said with a login is kept, and is no sign that it ever came.
    let row = SoftRow {
        host: Some(host(1)),
        ..SoftRow::for_node(&ephemeral(1))
    };
    let keeping = registry.log.commit_soft_state(move |batch| {
        Box::pin(async move { soft_states::put_row(batch.connection(), &row).await })
    });
    keeping.await.unwrap();
    registry.clock.advance(TimeDelta::hours(23));
    registry.pass(400).await;
    assert!(registry.node(1).await.is_some());
    registry.clock.advance(TimeDelta::hours(1));
    registry.pass(400).await;
    assert!(registry.node(1).await.is_none());
}

#[tokio::test]
async fn ephemeral_node_that_is_kept_out_stays() {
    let mut registry = TestRegistry::new().await;
    registry.living = vec!["g"];
    let disabled = Node {
        disabled: true,
        ..ephemeral(1)
    };
    let denied = Node {
        approved: false,
        denied: true,
        ..ephemeral(2)
    };
    for node in [disabled, denied, ephemeral(3)] {
        registry.put(node).await;
    }
    registry.clock.advance(TimeDelta::days(1));
    registry.pass(400).await;
    assert!(registry.node(3).await.is_none());
    assert!(registry.node(1).await.is_some() && registry.node(2).await.is_some());
    // Let in again, it goes as others do.
    registry.change(1, |node| node.disabled = false).await;
    registry.pass(8).await;
    assert!(registry.node(1).await.is_none());
}

#[tokio::test]
async fn ephemeral_node_of_a_gateway_whose_place_is_taken_goes_like_one_whose_end_was_reported() {
    let mut registry = TestRegistry::new().await;
    registry.put(ephemeral(1)).await;
    registry.renew_at("dead", "here").await.unwrap();
    registry.begin("dead", 1, 0).await;
    registry.pass(2).await;
    for _ in 0..5 {
        registry.renew_at("next", "here").await.unwrap();
        registry.pass(4).await;
    }
    assert_eq!(registry.gateways().await, ["next"]);
    assert!(!registry.soft(1).await.online);
    registry.living = vec!["next"];
    registry.pass(292).await;
    assert!(registry.node(1).await.is_some());
    registry.pass(12).await;
    assert!(registry.node(1).await.is_none());
}

#[tokio::test]
async fn end_that_is_reported_late_is_the_end_of_an_ephemeral_node_too() {
    let mut registry = TestRegistry::new().await;
    registry.living = vec!["other"];
    registry.put(ephemeral(1)).await;
    registry.renew("g").await;
    let epoch = registry.begin("g", 1, 0).await;
    registry.pass(20).await;
    assert!(!registry.soft(1).await.online, "its gateway reaches nobody");
    registry.living.push("g");
    let ended = NodeReport {
        presence: Some(presence("g", epoch, false)),
        ..report(1)
    };
    registry.report("g", vec![ended]).await;
    registry.pass(320).await;
    assert!(registry.node(1).await.is_none());
}
