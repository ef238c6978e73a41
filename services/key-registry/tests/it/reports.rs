//! What gateways report of nodes.

use std::time::Duration;

use bowline_proto::{
    changes::v1::{ChangesSinceRequest, SnapshotRequest},
    key_registry::v1::{
        ClientReport, GetNodeRequest, HostReport, NodeReport, Presence, PresenceReport,
        ReportNodesRequest, key_registry_service_client::KeyRegistryServiceClient,
        node_service_client::NodeServiceClient,
    },
    policy::v1::{SetPolicyRequest, policy_service_client::PolicyServiceClient},
};
use bowline_test_support::{TestServices, on_both};

use crate::request::with_key;

on_both!(TestServices::start =>
    reports_reach_followers_and_old_ones_are_dropped,
    tags_asked_for_later_are_given_or_end_the_key,
    session_that_a_report_does_not_name_is_refused,
    follower_that_has_lost_soft_states_is_sent_for_a_snapshot,
);

async fn follower_that_has_lost_soft_states_is_sent_for_a_snapshot(services: TestServices) {
    let key = services.new_user_key(true).await;
    services.register_node(with_key(1, 101, &key)).await;
    let mut client = KeyRegistryServiceClient::new(services.gateway());
    let mut ask = async |soft_revision| {
        let since = ChangesSinceRequest {
            tailnet_id: services.tailnet,
            revision: 0,
            soft_revision,
        };
        client.changes_since(since).await.unwrap().into_inner()
    };
    let before = ask(0).await;
    assert!(!before.compacted);
    assert!(ask(before.soft_head + 1).await.compacted);
    // What was known of the log then leads to the gap, though the log itself has lost nothing.
    let begun = async {
        loop {
            let after = ask(0).await;
            if after.head > before.head + 1_000_000 {
                return after;
            }
            tokio::task::yield_now().await;
        }
    };
    let begun = tokio::time::timeout(Duration::from_secs(30), begun);
    let after = begun.await.expect("an epoch begins");
    assert!(after.soft_head > before.soft_head + 1_000_000);
}

async fn session_that_a_report_does_not_name_is_refused(services: TestServices) {
    let key = services.new_user_key(true).await;
    let node = services.register_node(with_key(1, 101, &key)).await;
    let began = PresenceReport {
        live: true,
        ..PresenceReport::default()
    };
    let report = NodeReport {
        tailnet_id: services.tailnet,
        node_id: node.id,
        node_key: node.node_key.clone(),
        presence: Some(began),
        ..NodeReport::default()
    };
    let request = ReportNodesRequest {
        reports: vec![report],
        gateway: "g1".to_owned(),
    };
    let mut client = KeyRegistryServiceClient::new(services.gateway());
    let refused = client.report_nodes(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(refused.message().starts_with("presence: "), "{refused}");
    let state = services.node_with_state(node.id).await.soft;
    assert!(!state.is_some_and(|state| state.online));
}

async fn reports_reach_followers_and_old_ones_are_dropped(services: TestServices) {
    let key = services.new_user_key(true).await;
    let node = services.register_node(with_key(1, 101, &key)).await;
    let mut client = KeyRegistryServiceClient::new(services.gateway());
    let presence = Presence {
        epoch: 0,
        gateway: "g1".to_owned(),
    };
    let began = PresenceReport {
        presence: Some(presence),
        live: true,
        draining: false,
        dead_link: false,
    };
    let report = |sequence, home_derp| ClientReport {
        sequence,
        host: Some(HostReport {
            home_derp,
            hostname: "laptop".to_owned(),
            ..HostReport::default()
        }),
        ..ClientReport::default()
    };
    let of_node = |node_key: Vec<u8>, client, presence| NodeReport {
        tailnet_id: services.tailnet,
        node_id: node.id,
        node_key,
        client: Some(client),
        presence,
        age_milliseconds: 0,
        key_shared: false,
    };
    let own = vec![101; 32];
    let reports = vec![
        of_node(own.clone(), report(2, 900), Some(began)),
        of_node(own, report(1, 901), None),
        of_node(vec![102; 32], report(3, 902), None),
    ];
    let results = client
        .report_nodes(ReportNodesRequest {
            reports,
            gateway: "g1".to_owned(),
        })
        .await
        .unwrap()
        .into_inner();
    let accepted: Vec<_> = results
        .results
        .iter()
        .map(|result| result.accepted)
        .collect();
    assert_eq!(
        (accepted, results.results[0].epoch),
        (vec![true, true, false], 1)
    );

    let since = ChangesSinceRequest {
        tailnet_id: services.tailnet,
        revision: 1,
        soft_revision: 0,
    };
    let changes = client.changes_since(since).await.unwrap().into_inner();
    assert_eq!((changes.soft.len(), changes.soft[0].home_derp), (1, 900));
    assert!(changes.soft[0].online && changes.soft_through == changes.soft_head);
    let request = SnapshotRequest {
        tailnet_id: services.tailnet,
    };
    let mut stream = client.snapshot(request).await.unwrap().into_inner();
    let only = stream.message().await.unwrap().unwrap();
    assert!(only.last && only.nodes.len() == 1 && only.soft[0].home_derp == 900);
}

async fn tags_asked_for_later_are_given_or_end_the_key(services: TestServices) {
    let text = r#"{"tagOwners": {"tag:web": ["amira@example.com"], "tag:db": []}}"#;
    let request = SetPolicyRequest {
        tailnet_id: services.tailnet,
        text: text.to_owned(),
        ..SetPolicyRequest::default()
    };
    let stored = PolicyServiceClient::new(services.admin())
        .set_policy(request)
        .await;
    assert!(stored.unwrap().into_inner().problems.is_empty());
    let key = services.new_user_key(true).await;
    for (number, tag, is_given) in [(1, "tag:web", true), (2, "tag:db", false)] {
        let node = services
            .register_node(with_key(number, 100 + number, &key))
            .await;
        let client = ClientReport {
            sequence: 1,
            host: Some(HostReport {
                hostname: "laptop".to_owned(),
                requested_tags: vec![tag.to_owned()],
                ..HostReport::default()
            }),
            ..ClientReport::default()
        };
        let report = NodeReport {
            tailnet_id: services.tailnet,
            node_id: node.id,
            node_key: node.node_key,
            client: Some(client),
            ..NodeReport::default()
        };
        let request = ReportNodesRequest {
            reports: vec![report],
            gateway: "g1".to_owned(),
        };
        let mut registry = KeyRegistryServiceClient::new(services.gateway());
        let results = registry
            .report_nodes(request)
            .await
            .unwrap()
            .into_inner()
            .results;
        assert!(results[0].accepted && !results[0].again);
        let request = GetNodeRequest {
            tailnet_id: services.tailnet,
            node_id: node.id,
        };
        let found = NodeServiceClient::new(services.admin())
            .get_node(request)
            .await;
        let found = found.unwrap().into_inner().node.unwrap().node.unwrap();
        assert_eq!(found.tags == [tag], is_given, "{tag}");
        assert_eq!(found.expired, !is_given, "{tag}");
    }
}
