//! What devices are told when something about tailnet lock is refused: each text says what to do.

use bowline_proto::key_registry::v1::{
    BeginLockRequest, BootstrapLockRequest, DisableNodeRequest, FinishLockRequest, RegisterRequest,
    SendLockUpdatesRequest, node_service_client::NodeServiceClient, register_response::Outcome,
};
use bowline_tailnet_lock::UpdateKind;
use bowline_test_support::{TestServices, on_both};
use tonic::Status;

use super::{
    get_lock,
    lock_device::{LockDevice, locks},
    locked,
};
use crate::request::with_key;

on_both!(TestServices::start =>
    lock_that_can_not_be_switched_on_says_what_to_do,
    changes_that_can_not_be_say_what_to_do,
    device_that_may_not_take_part_is_told_what_it_lacks,
    copied_state_of_a_trusted_device_is_named_as_such,
);

fn check(refused: &Status, says: &str) {
    assert!(refused.message().contains(says), "{refused}");
}

async fn lock_that_can_not_be_switched_on_says_what_to_do(services: TestServices) {
    let (device, _) = locked(&services).await;
    let garbage = BeginLockRequest {
        member: device.member(),
        genesis: vec![0xff],
    };
    let refused = locks(services.gateway()).begin_lock(garbage).await;
    let refused = refused.unwrap_err();
    check(&refused, "can not begin tailnet lock");
    check(&refused, "with a client that is up to date");
    let change = device.signed_update(UpdateKind::NoChange, device.genesis_hash());
    let no_genesis = BeginLockRequest {
        member: device.member(),
        genesis: change.encode(),
    };
    let refused = locks(services.gateway()).begin_lock(no_genesis).await;
    check(&refused.unwrap_err(), "run `tailscale lock init`");
    let for_support = FinishLockRequest {
        member: device.member(),
        support_disablement: vec![1; 32],
        ..FinishLockRequest::default()
    };
    let refused = locks(services.gateway()).finish_lock(for_support).await;
    check(
        &refused.unwrap_err(),
        "without --gen-disablement-for-support",
    );

    device.disable(&services, super::SECRET).await.unwrap();
    device.begin(&services).await.unwrap();
    // The signature of a key that the node does not have any more.
    let wrong = device.signer.direct([200; 32], None);
    let wrong = FinishLockRequest {
        member: device.member(),
        signatures: [(device.node.id, wrong.encode())].into(),
        ..FinishLockRequest::default()
    };
    let refused = locks(services.gateway())
        .finish_lock(wrong)
        .await
        .unwrap_err();
    check(
        &refused,
        &format!("the signature of {} is not good", device.node.name),
    );
    check(&refused, "run `tailscale lock init` again");
}

async fn changes_that_can_not_be_say_what_to_do(services: TestServices) {
    let (device, key) = locked(&services).await;
    let other = LockDevice::register(&services, 2, &key).await;
    let before = get_lock(&services).await;
    for (kind, says) in [
        (
            UpdateKind::AddKey(device.signer.key(1)),
            "`tailscale lock` lists those that are trusted",
        ),
        (
            UpdateKind::RemoveKey(other.signer.id()),
            "`tailscale lock` lists those that are",
        ),
        (
            UpdateKind::RemoveKey(device.signer.id()),
            "add another one first, or disable tailnet lock",
        ),
        (
            UpdateKind::AddKey(other.signer.key(4097)),
            "it may have 1 to 4096",
        ),
    ] {
        let refused = device.update(&services, kind, true).await.unwrap_err();
        check(&refused, says);
    }
    let mut unsigned = device.signed_update(UpdateKind::NoChange, device.genesis_hash());
    unsigned.signatures.clear();
    let refused = device.send(&services, vec![unsigned.encode()], false).await;
    check(&refused.unwrap_err(), "lists as trusted");
    let mut wrong = device.signed_update(UpdateKind::NoChange, device.genesis_hash());
    wrong.signatures[0].signature[0] ^= 1;
    let refused = device.send(&services, vec![wrong.encode()], false).await;
    check(&refused.unwrap_err(), "sign it anew on a node whose key");
    let many = SendLockUpdatesRequest {
        member: device.member(),
        updates: vec![Vec::new(); 2001],
        interactive: false,
    };
    let refused = locks(services.gateway()).send_lock_updates(many).await;
    check(&refused.unwrap_err(), "are more than 2000");
    // A key that signs nothing: it is no signature of this node.
    let refused = device.submit(&services, &other.signature_of(&other)).await;
    check(
        &refused.unwrap_err(),
        "sign the device with `tailscale lock sign`",
    );
    assert_eq!(get_lock(&services).await, before);
}

async fn device_that_may_not_take_part_is_told_what_it_lacks(services: TestServices) {
    let (device, _) = locked(&services).await;
    let disable = DisableNodeRequest {
        tailnet_id: services.tailnet,
        node_id: device.node.id,
    };
    let mut nodes = NodeServiceClient::new(services.admin());
    nodes.disable_node(disable).await.unwrap();
    let asked = BootstrapLockRequest {
        member: device.member(),
    };
    let refused = locks(services.gateway())
        .bootstrap_lock(asked)
        .await
        .unwrap_err();
    check(&refused, "may not take part in the network");
    check(&refused, "bowline nodes show");
}

async fn copied_state_of_a_trusted_device_is_named_as_such(services: TestServices) {
    let (device, key) = locked(&services).await;
    let copy = RegisterRequest {
        lock_key: device.signer.id().to_vec(),
        ..with_key(9, 9, &key)
    };
    let Outcome::Refused(refused) = services.register(copy).await else {
        panic!("two machines have the key")
    };
    assert!(
        refused.text.contains("its state was copied"),
        "{}",
        refused.text
    );
    assert!(
        refused.text.contains("Remove the other device"),
        "{}",
        refused.text
    );
}
