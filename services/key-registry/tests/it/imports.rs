//! Nodes that move in from another server.

use bowline_proto::{
    audit::v1::ListAuditRequest,
    key_registry::v1::{
        DeleteNodeRequest, Endpoint, ImportNodesRequest, ImportNodesResponse, ImportedNode, Node,
        RegisterRequest, SoftState, audit_service_client::AuditServiceClient,
        node_service_client::NodeServiceClient, register_response::Outcome,
    },
};
use bowline_test_support::{TestServices, on_both};
use tonic::{Code, Status};

use crate::request::with_key;

on_both!(TestServices::start =>
    an_imported_node_has_its_keys_addresses_and_state_and_its_client_is_known,
    an_import_that_is_repeated_changes_nothing,
    an_import_is_done_whole_or_not_at_all,
    addresses_that_the_other_server_did_not_give_are_free_ones,
    only_operators_import,
);

fn node_of(services: &TestServices, number: u8) -> Node {
    Node {
        machine_key: vec![number; 32],
        node_key: vec![number + 100; 32],
        user_id: services.user.id,
        name: format!("node{number}"),
        ipv4: format!("100.64.7.{number}"),
        ipv6: format!("fd7a:115c:a1e0::7:{number:x}"),
        hostname: format!("node{number}"),
        ..Node::default()
    }
}

async fn import(services: &TestServices, nodes: &[Node]) -> Result<ImportNodesResponse, Status> {
    let imported = nodes.iter().map(|node| ImportedNode {
        node: Some(node.clone()),
        state: Some(SoftState {
            disco_key: vec![9; 32],
            endpoints: vec![Endpoint {
                address: "192.0.2.1:41641".to_owned(),
                kind: 0,
            }],
            home_derp: 900,
            ..SoftState::default()
        }),
    });
    let request = ImportNodesRequest {
        tailnet_id: services.tailnet,
        nodes: imported.collect(),
        origin: "another server".to_owned(),
    };
    let mut client = NodeServiceClient::new(services.admin());
    Ok(client.import_nodes(request).await?.into_inner())
}

async fn an_imported_node_has_its_keys_addresses_and_state_and_its_client_is_known(
    services: TestServices,
) {
    let router = Node {
        advertised_routes: vec!["10.0.0.0/24".to_owned()],
        approved_routes: vec!["10.0.0.0/24".to_owned()],
        ..node_of(&services, 1)
    };
    let imported = import(&services, std::slice::from_ref(&router))
        .await
        .unwrap();
    assert_eq!(imported.added, 1);
    let [node] = &imported.nodes[..] else {
        panic!()
    };
    assert_eq!((&node.ipv4, &node.ipv6), (&router.ipv4, &router.ipv6));
    assert_eq!(node.primary_routes, ["10.0.0.0/24"]);
    let found = services.node_with_state(node.id).await;
    assert_eq!(found.node.as_ref(), Some(node));
    let state = found.soft.unwrap();
    assert_eq!((state.disco_key, state.home_derp), (vec![9; 32], 900));
    assert!(!state.online);
    // The client presents the key it has: it is in, without a login.
    let request = RegisterRequest {
        machine_key: router.machine_key.clone(),
        node_key: router.node_key.clone(),
        ..RegisterRequest::default()
    };
    let Outcome::Registered(registered) = services.register(request).await else {
        panic!("it has to be known")
    };
    assert_eq!(registered.node.unwrap().id, node.id);
    // Somebody new gets addresses of its own.
    let key = services.new_user_key(true).await;
    let other = services.register_node(with_key(50, 150, &key)).await;
    assert_ne!(other.ipv4, node.ipv4);
    let mut audit = AuditServiceClient::new(services.admin());
    let request = ListAuditRequest {
        tailnet_id: services.tailnet,
        ..ListAuditRequest::default()
    };
    let entries = audit
        .list_audit(request)
        .await
        .unwrap()
        .into_inner()
        .entries;
    let entry = entries.iter().find(|entry| entry.action == "node.import");
    let entry = entry.unwrap();
    assert_eq!(entry.object, node.id.to_string());
    assert!(entry.detail.contains("another server"), "{}", entry.detail);
}

async fn an_import_that_is_repeated_changes_nothing(services: TestServices) {
    let nodes = [1, 2, 3].map(|number| node_of(&services, number));
    let first = import(&services, &nodes[..2]).await.unwrap();
    let again = import(&services, &nodes).await.unwrap();
    assert_eq!((first.added, again.added), (2, 1));
    assert_eq!(first.nodes[..], again.nodes[..2]);
    assert_eq!(services.nodes().await.len(), 3);
}

async fn an_import_is_done_whole_or_not_at_all(services: TestServices) {
    let present = import(&services, &[node_of(&services, 1)]).await.unwrap();
    let [present] = &present.nodes[..] else {
        panic!()
    };
    let taken = Node {
        ipv6: present.ipv6.clone(),
        ..node_of(&services, 3)
    };
    let refused = import(&services, &[node_of(&services, 2), taken]).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("\"node1\""), "{refused:?}");
    // A key of another machine is not taken over.
    let stolen = Node {
        node_key: present.node_key.clone(),
        ..node_of(&services, 4)
    };
    let refused = import(&services, &[node_of(&services, 2), stolen]).await;
    assert_eq!(refused.unwrap_err().code(), Code::FailedPrecondition);
    // Neither is one whose node is gone.
    let request = DeleteNodeRequest {
        tailnet_id: services.tailnet,
        node_id: present.id,
    };
    let mut client = NodeServiceClient::new(services.admin());
    client.delete_node(request).await.unwrap();
    let refused = import(&services, &[node_of(&services, 1)]).await;
    assert_eq!(refused.unwrap_err().code(), Code::FailedPrecondition);
    let unknown = Node {
        user_id: 999,
        ..node_of(&services, 5)
    };
    let refused = import(&services, &[unknown]).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert!(services.nodes().await.is_empty());
}

async fn addresses_that_the_other_server_did_not_give_are_free_ones(services: TestServices) {
    let only = |number, ipv4: &str, ipv6: &str| Node {
        ipv4: ipv4.to_owned(),
        ipv6: ipv6.to_owned(),
        ..node_of(&services, number)
    };
    let nodes = [
        only(1, "100.64.0.1", ""),
        only(2, "", "fd7a:115c:a1e0:ffff::2"),
        only(3, "", ""),
    ];
    let imported = import(&services, &nodes).await.unwrap().nodes;
    let addresses: Vec<_> = imported
        .iter()
        .map(|node| (&*node.ipv4, &*node.ipv6))
        .collect();
    assert_eq!(addresses[0].0, "100.64.0.1");
    assert!(addresses[0].1.ends_with("::1"), "{addresses:?}");
    assert_eq!(addresses[1].1, "fd7a:115c:a1e0:ffff::2");
    let ipv4: std::collections::BTreeSet<_> = addresses.iter().map(|pair| pair.0).collect();
    let ipv6: std::collections::BTreeSet<_> = addresses.iter().map(|pair| pair.1).collect();
    assert_eq!((ipv4.len(), ipv6.len()), (3, 3), "{addresses:?}");
}

async fn only_operators_import(services: TestServices) {
    let (_, key) = services.new_api_key(&services.user, &["all"]).await;
    let mut client = NodeServiceClient::new(services.with_token(&key));
    let request = ImportNodesRequest {
        tailnet_id: services.tailnet,
        ..ImportNodesRequest::default()
    };
    let refused = client.import_nodes(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}
