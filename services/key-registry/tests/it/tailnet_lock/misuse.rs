//! What a device of the network could do to others with signatures and requests that are good in themselves.

use bowline_proto::key_registry::v1::{
    ListSignaturesOfKeyRequest, RefusalReason, RegisterRequest, register_response::Outcome,
};
use bowline_tailnet_lock::{NodeKeySignature, UpdateKind};
use bowline_test_support::{TestServices, on_both};
use tonic::Code;

use super::{
    audited, get_lock,
    lock_device::{LockDevice, TestSigner, locks},
    locked,
};
use crate::request::{refusal, with_key};

on_both!(TestServices::start =>
    rotation_is_sent_by_nobody_for_another_and_replaces_no_key_by_itself,
    earlier_signature_is_sent_again_by_its_signer_alone,
    device_learns_nothing_of_another_whose_key_it_would_replace,
    signatures_are_listed_for_trusted_devices_alone,
    trusted_lock_key_is_had_by_one_machine,
    rotation_beside_another_of_the_same_key_waits_for_a_direct_signature,
    device_that_changes_the_log_all_the_time_is_slowed,
    lock_is_finished_again_where_the_answer_was_lost,
    nodes_that_are_let_in_again_are_audited,
);

/// A second device that takes part in the network; its key is not trusted.
async fn second(services: &TestServices, signer: &LockDevice, key: &str) -> LockDevice {
    let device = LockDevice::register(services, 2, key).await;
    let signature = signer.signature_of(&device);
    signer.submit(services, &signature).await.unwrap();
    device
}

async fn rotation_is_sent_by_nobody_for_another_and_replaces_no_key_by_itself(
    services: TestServices,
) {
    let (signer, key) = locked(&services).await;
    let victim = second(&services, &signer, &key).await;
    let before = services.node(victim.node.id).await;
    let node_key: [u8; 32] = before.node_key.clone().try_into().unwrap();
    // Whoever has a pre-auth key that was signed can make these.
    let one = signer.signer.credential_for(node_key);
    let two = TestSigner::new(123).rotate(one.clone(), node_key);
    for signature in [&one, &two] {
        let refused = victim.submit(&services, signature).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(
            refused.message().contains("`tailscale lock sign`"),
            "{refused}"
        );
    }
    assert_eq!(services.node(victim.node.id).await, before);
    let own = signer.signer.credential_for([7; 32]);
    let registering = RegisterRequest {
        key_signature: TestSigner::new(123).rotate(own, [7; 32]).encode(),
        ..with_key(7, 7, &key)
    };
    let refused = refusal(services.register(registering).await);
    assert_eq!(refused, RefusalReason::KeySignatureInvalid);
}

async fn earlier_signature_is_sent_again_by_its_signer_alone(services: TestServices) {
    let (signer, key) = locked(&services).await;
    let device = second(&services, &signer, &key).await;
    let earlier = signer.signature_of(&device);
    let node_key = device.node.node_key.clone().try_into().unwrap();
    let later = signer.signer.direct(node_key, Some([9; 32]));
    signer.submit(&services, &later).await.unwrap();
    let refused = device.submit(&services, &earlier).await.unwrap_err();
    assert!(refused.message().contains("signed already"), "{refused}");
    let present = services.node(device.node.id).await.key_signature;
    assert_eq!(present, later.encode());
    signer.submit(&services, &earlier).await.unwrap();
    let present = services.node(device.node.id).await.key_signature;
    assert_eq!(present, earlier.encode());
}

async fn device_learns_nothing_of_another_whose_key_it_would_replace(services: TestServices) {
    let (signer, key) = locked(&services).await;
    let device = second(&services, &signer, &key).await;
    let present = services.node(device.node.id).await;
    let nested = NodeKeySignature::decode(&present.key_signature).unwrap();
    let copied = || RegisterRequest {
        key_signature: device.signer.rotate(nested.clone(), [60; 32]).encode(),
        ..with_key(60, 60, &key)
    };
    for _ in 0..2 {
        let Outcome::Refused(refused) = services.register(copied()).await else {
            panic!("it is refused");
        };
        assert!(
            refused.text.contains("of another device"),
            "{}",
            refused.text
        );
        assert!(!refused.text.contains(&present.name), "{}", refused.text);
    }
    assert_eq!(audited(&services, "node.signature_refused").await, 1);
}

async fn signatures_are_listed_for_trusted_devices_alone(services: TestServices) {
    let (signer, key) = locked(&services).await;
    let device = second(&services, &signer, &key).await;
    let waiting = LockDevice::register(&services, 3, &key).await;
    for asking in [&device, &waiting] {
        let request = ListSignaturesOfKeyRequest {
            member: asking.member(),
            key_id: signer.signer.id().to_vec(),
        };
        let mut asked = locks(services.gateway());
        let refused = asked.list_signatures_of_key(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        assert!(refused.message().contains("ask on one that"), "{refused}");
    }
    let listed = signer.signatures_by(&services, &signer.signer).await;
    assert_eq!(listed.len(), 2);
}

async fn trusted_lock_key_is_had_by_one_machine(services: TestServices) {
    let (signer, key) = locked(&services).await;
    let device = second(&services, &signer, &key).await;
    let claiming = |machine, node| RegisterRequest {
        lock_key: signer.signer.id().to_vec(),
        ..with_key(machine, node, &key)
    };
    let refused = refusal(services.register(claiming(9, 9)).await);
    assert_eq!(refused, RefusalReason::KeySignatureInvalid);
    // Neither does a device that is there get it with a restart.
    services.register_node(claiming(2, 2)).await;
    let kept = services.node(device.node.id).await.lock_key;
    assert_eq!(kept, device.signer.id());
    // Another profile of the same machine.
    let other = services.register_node(claiming(1, 71)).await;
    assert_eq!(other.lock_key, signer.signer.id());
    // A key that nobody trusts may be any device's.
    let untrusted = RegisterRequest {
        lock_key: device.signer.id().to_vec(),
        ..with_key(10, 10, &key)
    };
    services.register_node(untrusted).await;
}

async fn rotation_beside_another_of_the_same_key_waits_for_a_direct_signature(
    services: TestServices,
) {
    let (signer, key) = locked(&services).await;
    let device = second(&services, &signer, &key).await;
    let rotation = |former: [u8; 32], node_key: [u8; 32]| {
        let direct = signer.signer.direct(former, Some(device.signer.id()));
        device.signer.rotate(direct, node_key)
    };
    let rotating = RegisterRequest {
        old_node_key: device.node.node_key.clone(),
        key_signature: rotation([2; 32], [51; 32]).encode(),
        ..with_key(2, 51, &key)
    };
    let rotated = services.register_node(rotating).await;
    assert_eq!(
        (rotated.id, rotated.awaits_signature),
        (device.node.id, false)
    );
    let beside = RegisterRequest {
        key_signature: rotation([60; 32], [61; 32]).encode(),
        ..with_key(61, 61, &key)
    };
    let waiting = services.register_node(beside).await;
    assert!(waiting.awaits_signature && waiting.key_signature.is_empty());
    assert_eq!(audited(&services, "node.signature_refused").await, 1);
    let direct = signer.signer.direct([61; 32], Some(device.signer.id()));
    signer.submit(&services, &direct).await.unwrap();
    assert!(!services.node(waiting.id).await.awaits_signature);
}

async fn device_that_changes_the_log_all_the_time_is_slowed(services: TestServices) {
    let (signer, _) = locked(&services).await;
    let mut refused = None;
    for _ in 0..40 {
        let sent = signer.update(&services, UpdateKind::NoChange, true).await;
        refused = sent.err();
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(
        refused.message().contains("try again in a few seconds"),
        "{refused}"
    );
    // What is known already changes nothing.
    let known = signer.signed_update(UpdateKind::NoChange, signer.genesis_hash());
    signer
        .send(&services, vec![known.encode()], false)
        .await
        .unwrap();
    assert!(get_lock(&services).await.updates > 20);
}

async fn lock_is_finished_again_where_the_answer_was_lost(services: TestServices) {
    let (signer, key) = locked(&services).await;
    signer.finish(&services, &[&signer]).await.unwrap();
    assert_eq!(audited(&services, "lock.enable").await, 1);
    let device = LockDevice::register(&services, 2, &key).await;
    let other = signer.finish(&services, &[&signer, &device]).await;
    assert_eq!(other.unwrap_err().code(), Code::FailedPrecondition);
    assert!(services.node(device.node.id).await.awaits_signature);
}

async fn nodes_that_are_let_in_again_are_audited(services: TestServices) {
    let (signer, key) = locked(&services).await;
    let device = second(&services, &signer, &key).await;
    let third = LockDevice::register(&services, 3, &key).await;
    let add = || UpdateKind::AddKey(device.signer.key(1));
    signer.update(&services, add(), true).await.unwrap();
    let by_second = device.signature_of(&third);
    device.submit(&services, &by_second).await.unwrap();
    let remove = UpdateKind::RemoveKey(device.signer.id());
    signer.update(&services, remove, true).await.unwrap();
    assert!(services.node(third.node.id).await.awaits_signature);
    assert_eq!(audited(&services, "node.let_in").await, 0);
    signer.update(&services, add(), true).await.unwrap();
    assert!(!services.node(third.node.id).await.awaits_signature);
    assert_eq!(audited(&services, "node.let_in").await, 1);
}
