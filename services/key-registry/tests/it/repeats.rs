//! Calls with idempotency keys are done once, and have the same outcome each time.

use bowline_proto::key_registry::v1::{
    ApproveNodeRequest, ApproveNodeResponse, AttributeToSet, CreatePreAuthKeyRequest,
    CreatePreAuthKeyResponse, CustomValue, DeleteNodeRequest, DeleteNodeResponse, DenyNodeRequest,
    DenyNodeResponse, DisableNodeRequest, DisableNodeResponse, EnableNodeRequest,
    EnableNodeResponse, ExpireNodeRequest, ExpireNodeResponse, ExpireNodesOfPreAuthKeyRequest,
    ExpireNodesOfPreAuthKeyResponse, ImportNodesRequest, ImportNodesResponse, ImportedNode,
    ListPreAuthKeysRequest, Node, NodeAttributesUpdate, PreAuthKey, RenameNodeRequest,
    RenameNodeResponse, RevokePreAuthKeyRequest, RevokePreAuthKeyResponse,
    SetApprovedRoutesRequest, SetApprovedRoutesResponse, SetNodeAttributesRequest,
    SetNodeAttributesResponse, SetNodeExpiryRequest, SetNodeExpiryResponse, SetTagsRequest,
    SetTagsResponse, custom_value::Kind, pre_auth_key_service_client::PreAuthKeyServiceClient,
    set_node_expiry_request::Expiry,
};
use bowline_test_support::{
    RepeatedCalls, TestServices, assert_nowhere, call_with_key, new_idempotency_key, on_both,
};
use futures_util::future::join_all;
use tonic::Code;

use crate::request::with_key;

const CREATE_KEY: &str = "/bowline.key_registry.v1.PreAuthKeyService/CreatePreAuthKey";
const DELETE_NODE: &str = "/bowline.key_registry.v1.NodeService/DeleteNode";
const SET_TAGS: &str = "/bowline.key_registry.v1.NodeService/SetTags";

on_both!(TestServices::start =>
    each_change_is_done_once,
    calls_at_once_on_two_replicas_make_one_key,
    a_repeat_is_answered_though_the_call_would_be_refused_by_now
);

fn wanted_key(services: &TestServices) -> CreatePreAuthKeyRequest {
    CreatePreAuthKeyRequest {
        key: Some(PreAuthKey {
            tailnet_id: services.tailnet,
            user_id: services.user.id,
            reusable: true,
            ..PreAuthKey::default()
        }),
        ..CreatePreAuthKeyRequest::default()
    }
}

async fn each_change_is_done_once(services: TestServices) {
    let mut calls = RepeatedCalls::new(&services).await;
    let rpc = "key_registry.v1.PreAuthKeyService/CreatePreAuthKey";
    let made: CreatePreAuthKeyResponse = calls.ask(rpc, wanted_key(&services)).await;
    assert_nowhere(&services, &made.secret).await;
    let (pre_auth_key_id, secret) = (made.key.unwrap().id, made.secret);
    change_node(&services, &mut calls, &secret).await;
    admit_nodes(&services, &mut calls, &secret).await;
    import_node(&services, &mut calls).await;
    let (tailnet_id, id) = (services.tailnet, pre_auth_key_id.clone());
    let rpc = "key_registry.v1.PreAuthKeyService/RevokePreAuthKey";
    let request = RevokePreAuthKeyRequest { tailnet_id, id };
    calls.ask::<_, RevokePreAuthKeyResponse>(rpc, request).await;
    let request = ExpireNodesOfPreAuthKeyRequest {
        tailnet_id,
        pre_auth_key_id,
    };
    let rpc = "key_registry.v1.NodeService/ExpireNodesOfPreAuthKey";
    let ended: ExpireNodesOfPreAuthKeyResponse = calls.ask(rpc, request).await;
    assert_eq!(ended.nodes.len(), 1);
    assert!(ended.revocation.unwrap().revision > 0);
    calls.assert_all_asked("key_registry");
}

/// Changes a node in every way, and deletes it.
async fn change_node(services: &TestServices, calls: &mut RepeatedCalls, secret: &str) {
    services
        .set_policy(r#"{"tagOwners": {"tag:web": []}, "acls": []}"#)
        .await;
    let node = services.register_node(with_key(1, 1, secret)).await;
    let (tailnet_id, node_id) = (services.tailnet, node.id);
    let request = RenameNodeRequest {
        tailnet_id,
        node_id,
        name: "renamed".to_owned(),
    };
    let rpc = "key_registry.v1.NodeService/RenameNode";
    calls.ask::<_, RenameNodeResponse>(rpc, request).await;
    let request = SetApprovedRoutesRequest {
        tailnet_id,
        node_id,
        routes: vec!["10.0.0.0/8".to_owned()],
    };
    let rpc = "key_registry.v1.NodeService/SetApprovedRoutes";
    calls
        .ask::<_, SetApprovedRoutesResponse>(rpc, request)
        .await;
    let request = SetNodeExpiryRequest {
        tailnet_id,
        node_id,
        expiry: Some(Expiry::After(prost_types::Duration {
            seconds: 86_400,
            nanos: 0,
        })),
    };
    let rpc = "key_registry.v1.NodeService/SetNodeExpiry";
    calls.ask::<_, SetNodeExpiryResponse>(rpc, request).await;
    set_attribute(tailnet_id, node_id, calls).await;
    let rpc = "key_registry.v1.NodeService/DisableNode";
    let request = DisableNodeRequest {
        tailnet_id,
        node_id,
    };
    let disabled: DisableNodeResponse = calls.ask(rpc, request).await;
    assert!(disabled.revocation.unwrap().revision > 0);
    let rpc = "key_registry.v1.NodeService/EnableNode";
    let request = EnableNodeRequest {
        tailnet_id,
        node_id,
    };
    calls.ask::<_, EnableNodeResponse>(rpc, request).await;
    let request = SetTagsRequest {
        tailnet_id,
        node_id,
        tags: vec!["tag:web".to_owned()],
    };
    let rpc = "key_registry.v1.NodeService/SetTags";
    calls.ask::<_, SetTagsResponse>(rpc, request).await;
    let rpc = "key_registry.v1.NodeService/ExpireNode";
    let request = ExpireNodeRequest {
        tailnet_id,
        node_id,
    };
    calls.ask::<_, ExpireNodeResponse>(rpc, request).await;
    let rpc = "key_registry.v1.NodeService/DeleteNode";
    let request = DeleteNodeRequest {
        tailnet_id,
        node_id,
    };
    let deleted: DeleteNodeResponse = calls.ask(rpc, request).await;
    assert!(deleted.revocation.unwrap().revision > 0);
}

async fn set_attribute(tailnet_id: u64, node_id: u64, calls: &mut RepeatedCalls) {
    let attribute = AttributeToSet {
        name: "custom:owner".to_owned(),
        value: Some(CustomValue {
            kind: Some(Kind::Text("ops".to_owned())),
        }),
        ..AttributeToSet::default()
    };
    let request = SetNodeAttributesRequest {
        tailnet_id,
        updates: vec![NodeAttributesUpdate {
            node_id,
            set: vec![attribute],
            ..NodeAttributesUpdate::default()
        }],
    };
    let rpc = "key_registry.v1.NodeService/SetNodeAttributes";
    let changed: SetNodeAttributesResponse = calls.ask(rpc, request).await;
    assert_eq!(changed.nodes[0].attributes[0].name, "custom:owner");
}

/// Lets a machine in that waits, and turns another away.
async fn admit_nodes(services: &TestServices, calls: &mut RepeatedCalls, secret: &str) {
    services.require_approval().await;
    let tailnet_id = services.tailnet;
    let node_id = services.register_node(with_key(2, 2, secret)).await.id;
    let rpc = "key_registry.v1.NodeService/ApproveNode";
    let request = ApproveNodeRequest {
        tailnet_id,
        node_id,
    };
    calls.ask::<_, ApproveNodeResponse>(rpc, request).await;
    let node_id = services.register_node(with_key(3, 3, secret)).await.id;
    let rpc = "key_registry.v1.NodeService/DenyNode";
    let request = DenyNodeRequest {
        tailnet_id,
        node_id,
    };
    calls.ask::<_, DenyNodeResponse>(rpc, request).await;
}

async fn import_node(services: &TestServices, calls: &mut RepeatedCalls) {
    let node = Node {
        machine_key: vec![9; 32],
        node_key: vec![9; 32],
        user_id: services.user.id,
        name: "imported".to_owned(),
        hostname: "imported".to_owned(),
        ..Node::default()
    };
    let request = ImportNodesRequest {
        tailnet_id: services.tailnet,
        nodes: vec![ImportedNode {
            node: Some(node),
            state: None,
        }],
        origin: "elsewhere".to_owned(),
    };
    let rpc = "key_registry.v1.NodeService/ImportNodes";
    let imported: ImportNodesResponse = calls.ask(rpc, request).await;
    assert_eq!(imported.added, 1);
}

async fn calls_at_once_on_two_replicas_make_one_key(services: TestServices) {
    let other = TestServices::start(services.database.clone()).await;
    let (key, wanted) = (new_idempotency_key(), wanted_key(&services));
    let calls = (0..64).map(|number| {
        let channel = match number % 2 {
            0 => services.admin(),
            _ => other.admin(),
        };
        call_with_key(channel, CREATE_KEY, wanted.clone(), &key)
    });
    let answers: Vec<Result<CreatePreAuthKeyResponse, _>> = join_all(calls).await;
    let first = answers[0].clone().unwrap();
    for answer in answers {
        assert_eq!(answer.unwrap(), first);
    }
    let request = ListPreAuthKeysRequest {
        tailnet_id: services.tailnet,
    };
    let mut keys = PreAuthKeyServiceClient::new(services.admin());
    let listed = keys.list_pre_auth_keys(request).await.unwrap().into_inner();
    assert_eq!(listed.keys, [first.key.unwrap()]);
}

async fn a_repeat_is_answered_though_the_call_would_be_refused_by_now(services: TestServices) {
    services
        .set_policy(r#"{"tagOwners": {"tag:web": []}, "acls": []}"#)
        .await;
    let secret = services.new_user_key(true).await;
    let node_id = services.register_node(with_key(1, 1, &secret)).await.id;
    let tailnet_id = services.tailnet;
    let tags = SetTagsRequest {
        tailnet_id,
        node_id,
        tags: vec!["tag:web".to_owned()],
    };
    let key = new_idempotency_key();
    let set_tags = || call_with_key(services.admin(), SET_TAGS, tags.clone(), &key);
    let tagged: SetTagsResponse = set_tags().await.unwrap();
    services.set_policy(r#"{"acls": []}"#).await;
    let again: SetTagsResponse = set_tags().await.unwrap();
    assert_eq!(again, tagged);
    // With another key the same is another change.
    let other = new_idempotency_key();
    let request = call_with_key(services.admin(), SET_TAGS, tags, &other);
    let refused: Result<SetTagsResponse, _> = request.await;
    assert_eq!(refused.unwrap_err().code(), Code::FailedPrecondition);
    let delete = DeleteNodeRequest {
        tailnet_id,
        node_id,
    };
    let key = new_idempotency_key();
    for _ in 0..3 {
        let answer = call_with_key(services.admin(), DELETE_NODE, delete, &key).await;
        let deleted: DeleteNodeResponse = answer.unwrap();
        assert!(deleted.revocation.unwrap().revision > 0);
    }
    let other = new_idempotency_key();
    let again = call_with_key(services.admin(), DELETE_NODE, delete, &other);
    let refused: Result<DeleteNodeResponse, _> = again.await;
    assert_eq!(refused.unwrap_err().code(), Code::NotFound);
}
