//! Tailnet lock: switched on, heeded, changed and switched off, as devices do it.

mod lock_device;
mod misuse;
mod refusals;

use bowline_proto::{
    audit::v1::ListAuditRequest,
    identity::v1::{Role, User},
    key_registry::v1::{
        BootstrapLockRequest, GetLockRequest, GetLockResponse, ListLockUpdatesRequest,
        OfferLockUpdatesRequest, PreAuthKey, RefusalReason, RegisterRequest,
        audit_service_client::AuditServiceClient, register_response::Outcome,
    },
};
use bowline_tailnet_lock::{NodeKeySignature, UpdateKind};
use bowline_test_support::{TestServices, on_both};
use tonic::Code;

use crate::request::{refusal, with_key};
use lock_device::{LockDevice, SECRET, locks};

on_both!(TestServices::start =>
    lock_is_on_once_every_node_is_signed_and_later_nodes_wait,
    only_devices_of_owners_and_administrators_switch_it_on_and_off,
    node_that_joins_between_beginning_and_end_is_asked_for,
    node_key_is_rotated_by_its_own_lock_key_and_uses_up_nothing_before,
    pre_signed_keys_let_nodes_in_and_ones_of_strangers_are_refused,
    nodes_wait_when_their_signer_is_removed_until_they_are_signed_again,
    only_its_secret_switches_it_off_and_lets_waiting_nodes_in,
    what_is_not_right_is_refused_and_changes_nothing,
    signature_that_takes_the_place_of_a_node_in_use_is_refused,
    suspended_administrators_switch_nothing_off,
    machine_that_changes_its_lock_key_all_the_time_writes_no_more,
);

async fn get_lock(services: &TestServices) -> GetLockResponse {
    let tailnet_id = services.tailnet;
    let request = GetLockRequest { tailnet_id };
    let answer = locks(services.admin()).get_lock(request).await.unwrap();
    answer.into_inner()
}

async fn audited(services: &TestServices, action: &str) -> usize {
    let request = ListAuditRequest {
        tailnet_id: services.tailnet,
        ..ListAuditRequest::default()
    };
    let mut audit = AuditServiceClient::new(services.admin());
    let entries = audit
        .list_audit(request)
        .await
        .unwrap()
        .into_inner()
        .entries;
    entries
        .iter()
        .filter(|entry| entry.action == action)
        .count()
}

/// A tailnet whose lock is on: a device of an administrator that signs, and its pre-auth key.
async fn locked(services: &TestServices) -> (LockDevice, String) {
    let admin = services
        .new_user(services.tailnet, "ada@example.com", Role::Admin)
        .await;
    let key = PreAuthKey {
        user_id: admin.id,
        reusable: true,
        ..PreAuthKey::default()
    };
    let key = services.new_key(key).await;
    let device = LockDevice::register(services, 1, &key).await;
    device.switch_on(services, &[&device]).await.unwrap();
    (device, key)
}

async fn lock_is_on_once_every_node_is_signed_and_later_nodes_wait(services: TestServices) {
    let (signer, key) = locked(&services).await;
    assert!(!services.node(signer.node.id).await.awaits_signature);
    let lock = get_lock(&services).await;
    assert!(!lock.lock.unwrap().head.is_empty());
    assert_eq!(lock.keys[0].nodes, std::slice::from_ref(&signer.node.name));
    assert_eq!(lock.keys[0].signed_nodes, 1);

    let late = LockDevice::register(&services, 2, &key).await;
    assert!(late.node.awaits_signature && late.node.is_authorized());
    let waiting = get_lock(&services).await.waiting;
    assert_eq!(waiting[0].id, late.node.id);
    assert_eq!(waiting[0].rotation_key, late.signer.id());

    let signature = signer.signature_of(&late);
    signer.submit(&services, &signature).await.unwrap();
    signer.submit(&services, &signature).await.unwrap();
    let node = services.node(late.node.id).await;
    assert!(!node.awaits_signature);
    assert_eq!(node.key_signature, signature.encode());
    assert_eq!(get_lock(&services).await.waiting, []);
    assert_eq!(audited(&services, "node.sign").await, 1);
    assert_eq!(audited(&services, "lock.enable").await, 1);

    let again = signer.switch_on(&services, &[&signer, &late]).await;
    assert!(again.unwrap_err().message().contains("on already"));
}

async fn only_devices_of_owners_and_administrators_switch_it_on_and_off(services: TestServices) {
    let key = services.new_user_key(true).await;
    let device = LockDevice::register(&services, 1, &key).await;
    let refused = device.switch_on(&services, &[&device]).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(
        refused.message().contains("owners and administrators"),
        "{refused}"
    );
    let (_, _) = locked_beside(&services, &device).await;
    let refused = device.disable(&services, SECRET).await.unwrap_err();
    assert!(
        refused.message().contains("owners and administrators"),
        "{refused}"
    );
}

/// The same as [`locked`] where there is a device already.
async fn locked_beside(services: &TestServices, other: &LockDevice) -> (LockDevice, String) {
    let admin = services
        .new_user(services.tailnet, "ada@example.com", Role::Owner)
        .await;
    let key = PreAuthKey {
        user_id: admin.id,
        reusable: true,
        ..PreAuthKey::default()
    };
    let key = services.new_key(key).await;
    let device = LockDevice::register(services, 100, &key).await;
    device.switch_on(services, &[&device, other]).await.unwrap();
    (device, key)
}

async fn node_that_joins_between_beginning_and_end_is_asked_for(services: TestServices) {
    let admin = services
        .new_user(services.tailnet, "ada@example.com", Role::Admin)
        .await;
    let key = PreAuthKey {
        user_id: admin.id,
        reusable: true,
        ..PreAuthKey::default()
    };
    let key = services.new_key(key).await;
    let device = LockDevice::register(&services, 1, &key).await;
    let other = LockDevice::register(&services, 2, &key).await;
    let to_sign = device.begin(&services).await.unwrap();
    assert_eq!(to_sign.len(), 2);
    assert_eq!(to_sign[0].rotation_key, device.signer.id());
    let late = LockDevice::register(&services, 3, &key).await;
    let finished = device.finish(&services, &[&device, &other]).await;
    let refused = finished.unwrap_err();
    assert!(
        refused
            .message()
            .contains("run `tailscale lock init` again"),
        "{refused}"
    );
    // Another device has begun nothing.
    let foreign = other.finish(&services, &[&device, &other, &late]).await;
    assert!(
        foreign
            .unwrap_err()
            .message()
            .contains("has begun no tailnet lock")
    );
    assert!(get_lock(&services).await.lock.unwrap().head.is_empty());
    let all = [&device, &other, &late];
    device.switch_on(&services, &all).await.unwrap();
    assert!(!get_lock(&services).await.lock.unwrap().head.is_empty());
}

async fn node_key_is_rotated_by_its_own_lock_key_and_uses_up_nothing_before(
    services: TestServices,
) {
    let (device, _) = locked(&services).await;
    let once = PreAuthKey {
        user_id: device.node.user_id,
        ..PreAuthKey::default()
    };
    let once = services.new_key(once).await;
    let asking = RegisterRequest {
        old_node_key: device.node.node_key.clone(),
        lock_key: device.signer.id().to_vec(),
        ..with_key(1, 50, &once)
    };
    let present = match services.register(asking.clone()).await {
        Outcome::SignatureToRotate(rotate) => rotate.signature,
        other => panic!("{other:?}"),
    };
    let nested = NodeKeySignature::decode(&present).unwrap();
    let rotated = device.signer.rotate(nested, [51; 32]);
    let again = RegisterRequest {
        node_key: vec![51; 32],
        key_signature: rotated.encode(),
        ..asking.clone()
    };
    let node = services.register_node(again).await;
    assert_eq!(node.id, device.node.id);
    assert!(!node.awaits_signature);
    // With another lock key the client could not sign: the node waits.
    let key = services.new_key(PreAuthKey {
        user_id: device.node.user_id,
        ..PreAuthKey::default()
    });
    let asking = RegisterRequest {
        old_node_key: vec![51; 32],
        lock_key: vec![9; 32],
        ..with_key(1, 52, &key.await)
    };
    let node = services.register_node(asking).await;
    assert_eq!(node.id, device.node.id);
    assert!(node.awaits_signature && node.key_signature.is_empty());
}

async fn pre_signed_keys_let_nodes_in_and_ones_of_strangers_are_refused(services: TestServices) {
    let (device, key) = locked(&services).await;
    for number in [2, 3] {
        let signed = RegisterRequest {
            key_signature: device.signer.credential_for([number; 32]).encode(),
            ..with_key(number, number, &key)
        };
        let node = services.register_node(signed).await;
        assert!(!node.awaits_signature);
    }
    let stranger = lock_device::TestSigner::new(77);
    let forged = RegisterRequest {
        key_signature: stranger.credential_for([4; 32]).encode(),
        ..with_key(4, 4, &key)
    };
    let refused = services.register(forged).await;
    assert!(matches!(&refused, Outcome::Refused(it) if it.text.contains("tailscale lock sign")));
    assert_eq!(refusal(refused), RefusalReason::KeySignatureInvalid);
    // A node that waits brings a good signature when it starts again.
    let waiting = LockDevice::register(&services, 5, &key).await;
    assert!(waiting.node.awaits_signature);
    let restart = RegisterRequest {
        key_signature: device.signer.credential_for([5; 32]).encode(),
        ..with_key(5, 5, &key)
    };
    let node = services.register_node(restart).await;
    assert_eq!((node.id, node.awaits_signature), (waiting.node.id, false));
}

async fn nodes_wait_when_their_signer_is_removed_until_they_are_signed_again(
    services: TestServices,
) {
    let (first, key) = locked(&services).await;
    let second = LockDevice::register(&services, 2, &key).await;
    let signature = first.signature_of(&second);
    first.submit(&services, &signature).await.unwrap();
    let add = UpdateKind::AddKey(second.signer.key(1));
    first.update(&services, add, true).await.unwrap();
    let third = LockDevice::register(&services, 3, &key).await;
    let by_second = second.signature_of(&third);
    second.submit(&services, &by_second).await.unwrap();
    let affected = first.signatures_by(&services, &second.signer).await;
    assert_eq!(affected, [by_second.encode()]);

    let remove = UpdateKind::RemoveKey(second.signer.id());
    first.update(&services, remove, true).await.unwrap();
    assert!(services.node(third.node.id).await.awaits_signature);
    assert!(!services.node(second.node.id).await.awaits_signature);
    assert!(
        first
            .signatures_by(&services, &second.signer)
            .await
            .is_empty()
    );
    let untrusted = second.submit(&services, &by_second).await.unwrap_err();
    assert!(
        untrusted.message().contains("does not trust"),
        "{untrusted}"
    );
    let good = first.signature_of(&third);
    first.submit(&services, &good).await.unwrap();
    assert!(!services.node(third.node.id).await.awaits_signature);

    let request = ListLockUpdatesRequest {
        tailnet_id: services.tailnet,
        most: 2,
    };
    let listed = locks(services.admin()).list_lock_updates(request).await;
    let updates = listed.unwrap().into_inner().updates;
    let kinds: Vec<_> = updates.iter().map(|update| &*update.kind).collect();
    assert_eq!(kinds, ["remove-key", "add-key"]);
    assert_eq!(updates[0].key_id, second.signer.id());
    assert_eq!(audited(&services, "lock.update").await, 2);

    // A device that has the genesis alone is sent both.
    let genesis = first.genesis_hash().to_string();
    let offer = OfferLockUpdatesRequest {
        member: third.member(),
        head: genesis.clone(),
        ancestors: vec![genesis],
    };
    let offered = locks(services.gateway()).offer_lock_updates(offer).await;
    assert_eq!(offered.unwrap().into_inner().missing.len(), 2);
}

async fn only_its_secret_switches_it_off_and_lets_waiting_nodes_in(services: TestServices) {
    let (device, key) = locked(&services).await;
    let late = LockDevice::register(&services, 2, &key).await;
    assert!(late.node.awaits_signature);
    let bootstrap = || BootstrapLockRequest {
        member: late.member(),
    };
    let mut asked = locks(services.gateway());
    let on = asked
        .bootstrap_lock(bootstrap())
        .await
        .unwrap()
        .into_inner();
    assert!(!on.genesis.is_empty() && on.disablement_secret.is_empty());

    let refused = device.disable(&services, b"guess").await.unwrap_err();
    assert!(
        refused.message().contains("no disablement secret"),
        "{refused}"
    );
    assert!(services.node(late.node.id).await.awaits_signature);
    device.disable(&services, SECRET).await.unwrap();
    assert!(!services.node(late.node.id).await.awaits_signature);
    let lock = get_lock(&services).await.lock.unwrap();
    assert!(lock.disabled && lock.head.is_empty());
    let off = asked
        .bootstrap_lock(bootstrap())
        .await
        .unwrap()
        .into_inner();
    assert_eq!((off.genesis.len(), &*off.disablement_secret), (0, SECRET));
    let again = device.disable(&services, SECRET).await.unwrap_err();
    assert!(again.message().contains("is not on"), "{again}");
    // It can be switched on again, as another one.
    device
        .switch_on(&services, &[&device, &late])
        .await
        .unwrap();
    // At once: each takes the server some effort, and the first ones are allowed again meanwhile.
    let guesses = (0..10).map(|_| device.disable(&services, b"guess"));
    let refused = futures_util::future::join_all(guesses).await;
    let codes = refused.into_iter().map(|answer| answer.unwrap_err().code());
    let codes: Vec<_> = codes.collect();
    assert!(codes.contains(&Code::ResourceExhausted), "{codes:?}");
    assert!(codes.contains(&Code::FailedPrecondition), "{codes:?}");
}

async fn what_is_not_right_is_refused_and_changes_nothing(services: TestServices) {
    let (device, key) = locked(&services).await;
    let late = LockDevice::register(&services, 2, &key).await;
    let before = get_lock(&services).await;
    let garbage = device.send(&services, vec![vec![0xff]], false).await;
    assert!(garbage.unwrap_err().message().contains("can not be read"));
    let by_stranger = late.signed_update(UpdateKind::NoChange, device.genesis_hash());
    let refused = device
        .send(&services, vec![by_stranger.encode()], false)
        .await;
    assert!(refused.unwrap_err().message().contains("not trusted"));
    // Two at once: one counts, and the other one's person is told so.
    let one = device.signed_update(
        UpdateKind::AddKey(late.signer.key(1)),
        device.genesis_hash(),
    );
    let two = device.signed_update(UpdateKind::RemoveKey(late.signer.id()), one.hash());
    let fork = device.signed_update(UpdateKind::NoChange, device.genesis_hash());
    let unknown = device.send(&services, vec![two.encode()], false).await;
    assert!(unknown.unwrap_err().message().contains("parent"));
    let taken = device.send(&services, vec![one.encode()], true).await;
    assert_eq!(taken.unwrap(), one.hash().to_string());
    if fork.hash() > one.hash() {
        let lost = device.send(&services, vec![fork.encode()], true).await;
        assert!(lost.unwrap_err().message().contains("meanwhile"));
        assert_eq!(get_lock(&services).await.updates, before.updates + 1);
    }
    // Its machine is not the device's.
    let mut member = device.member().unwrap();
    member.machine_key = vec![99; 32];
    let request = BootstrapLockRequest {
        member: Some(member),
    };
    let foreign = locks(services.gateway()).bootstrap_lock(request).await;
    assert_eq!(foreign.unwrap_err().code(), Code::NotFound);
    // Nobody has that key.
    let nobody = device.signer.direct([200; 32], None);
    let refused = device.submit(&services, &nobody).await.unwrap_err();
    assert!(
        refused.message().contains("bowline lock status"),
        "{refused}"
    );
    // Another lock altogether.
    let offer = OfferLockUpdatesRequest {
        member: device.member(),
        head: bowline_tailnet_lock::UpdateHash([1; 32]).to_string(),
        ancestors: Vec::new(),
    };
    let refused = locks(services.gateway()).offer_lock_updates(offer).await;
    assert!(refused.unwrap_err().message().contains("local-disable"));
    assert!(services.node(late.node.id).await.awaits_signature);
}

async fn signature_that_takes_the_place_of_a_node_in_use_is_refused(services: TestServices) {
    let (device, key) = locked(&services).await;
    let present = services.node(device.node.id).await.key_signature;
    let nested = NodeKeySignature::decode(&present).unwrap();
    let copied = RegisterRequest {
        lock_key: device.signer.id().to_vec(),
        key_signature: device.signer.rotate(nested, [60; 32]).encode(),
        ..with_key(60, 60, &key)
    };
    let refused = services.register(copied).await;
    assert!(matches!(&refused, Outcome::Refused(it) if it.text.contains("was copied")));
    assert!(!services.node(device.node.id).await.awaits_signature);
}

async fn suspended_administrators_switch_nothing_off(services: TestServices) {
    let (device, _) = locked(&services).await;
    let user = User {
        id: device.node.user_id,
        tailnet_id: services.tailnet,
        ..User::default()
    };
    services.set_suspended(&user, true).await;
    let refused = device.disable(&services, SECRET).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    services.set_suspended(&user, false).await;
    assert!(!get_lock(&services).await.lock.unwrap().disabled);
}

async fn machine_that_changes_its_lock_key_all_the_time_writes_no_more(services: TestServices) {
    let key = services.new_user_key(true).await;
    let device = LockDevice::register(&services, 1, &key).await;
    for number in 2..=40 {
        let restart = RegisterRequest {
            lock_key: vec![number; 32],
            ..with_key(1, 1, &key)
        };
        services.register_node(restart).await;
    }
    let kept = services.node(device.node.id).await.lock_key;
    assert_ne!(kept, [40; 32]);
    assert!(audited(&services, "node.lock_key").await < 15);
}
