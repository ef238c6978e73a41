//! What the crate says of updates and signatures that it refuses.

use std::sync::Arc;

use bowline_tailnet_lock::{
    LockLog, LockState, LockUpdate, LockUpdateError, NodeKeySignature, NodeSignatureError,
    NodeSignatureKind, UpdateHash, UpdateKind,
};

use crate::signing::{TestSigner, genesis, signed_update, trusting};

#[test]
fn changes_that_the_state_does_not_allow_are_refused_with_what_to_do() {
    let (one, two) = (TestSigner::new(1), TestSigner::new(2));
    let log = LockLog::begin(genesis(&[(&one, 1)])).expect("a genesis");
    let elsewhere = LockState {
        ids: (7, 7),
        ..trusting(&[(&one, 1)])
    };
    for (kind, expected, says) in [
        (
            UpdateKind::AddKey(one.key(1)),
            LockUpdateError::KeyTwice,
            "`tailscale lock` lists",
        ),
        (
            UpdateKind::RemoveKey(two.id()),
            LockUpdateError::UnknownKey,
            "`tailscale lock` lists",
        ),
        (
            UpdateKind::UpdateKey {
                id: two.id(),
                votes: Some(2),
                metadata: [].into(),
            },
            LockUpdateError::UnknownKey,
            "`tailscale lock` lists",
        ),
        (
            UpdateKind::RemoveKey(one.id()),
            LockUpdateError::LastKey,
            "add another one first",
        ),
        (
            UpdateKind::Checkpoint(elsewhere),
            LockUpdateError::OtherLock,
            "let the client synchronise",
        ),
    ] {
        let update = signed_update(kind, Some(log.head()), &[&one]);
        let refused = log.clone().add(vec![update]).expect_err("refused");
        assert_eq!(refused, expected);
        assert!(refused.to_string().contains(says), "{refused}");
    }
    let strange = signed_update(UpdateKind::NoChange, Some(UpdateHash([9; 32])), &[&one]);
    let orphan = signed_update(UpdateKind::NoChange, None, &[&one]);
    for update in [strange, orphan] {
        let refused = log.clone().add(vec![update]).expect_err("refused");
        assert!(
            refused.to_string().contains("let the client synchronise"),
            "{refused}"
        );
    }
    let mut wrong = signed_update(UpdateKind::NoChange, Some(log.head()), &[&one]);
    wrong.signatures[0].signature[0] ^= 1;
    let refused = log.clone().add(vec![wrong]).expect_err("refused");
    assert_eq!(refused, LockUpdateError::BadSignature);
    assert!(refused.to_string().contains("sign it anew"), "{refused}");
}

#[test]
fn updates_without_sense_are_refused_when_they_are_read() {
    let (one, two) = (TestSigner::new(1), TestSigner::new(2));
    let parent = Some(UpdateHash([1; 32]));
    let good = || trusting(&[(&one, 1), (&two, 1)]);
    let mut noted = one.key(1);
    noted.metadata = [("note".to_owned(), "a".repeat(509))].into();
    let many = (0..513_u64).map(|number| {
        let mut key = one.key(1);
        key.id[..8].copy_from_slice(&number.to_le_bytes());
        Arc::new(key)
    });
    let value = good().disablement_values[0];
    for (kind, expected) in [
        (UpdateKind::AddKey(one.key(0)), LockUpdateError::Votes(0)),
        (UpdateKind::AddKey(noted), LockUpdateError::Metadata(513)),
        (
            UpdateKind::Checkpoint(LockState {
                disablement_values: vec![value; 2],
                ..good()
            }),
            LockUpdateError::DisablementTwice,
        ),
        (
            UpdateKind::Checkpoint(LockState {
                disablement_values: (0..33).map(|number| [number; 32]).collect(),
                ..good()
            }),
            LockUpdateError::DisablementValues(33),
        ),
        (
            UpdateKind::Checkpoint(trusting(&[(&one, 1), (&one, 1)])),
            LockUpdateError::KeyTwice,
        ),
        (
            UpdateKind::Checkpoint(LockState {
                keys: many.collect(),
                ..good()
            }),
            LockUpdateError::Keys(513),
        ),
        (
            UpdateKind::UpdateKey {
                id: one.id(),
                votes: None,
                metadata: [].into(),
            },
            LockUpdateError::Missing {
                kind: "update-key",
                member: "votes and no metadata",
            },
        ),
    ] {
        let update = signed_update(kind, parent, &[&one]);
        assert_eq!(LockUpdate::decode(&update.encode()), Err(expected));
    }
}

/// A signature of a node key, made by a trusted key.
fn direct(by: &TestSigner) -> NodeKeySignature {
    complete(
        by,
        NodeKeySignature {
            kind: NodeSignatureKind::Direct,
            node_key: Some([7; 32]),
            signer: Some(by.id()),
            signature: None,
            nested: None,
            wrapping_key: None,
        },
    )
}

fn complete(by: &TestSigner, mut signature: NodeKeySignature) -> NodeKeySignature {
    signature.signature = Some(by.sign(&signature.signed_hash()));
    signature
}

#[test]
fn signatures_without_sense_authorise_nothing() {
    let (one, own) = (TestSigner::new(1), TestSigner::new(9));
    let state = trusting(&[(&one, 1)]);
    let rotation = |nested: Option<NodeKeySignature>| {
        let rotation = NodeKeySignature {
            kind: NodeSignatureKind::Rotation,
            signer: None,
            nested: nested.map(Box::new),
            ..direct(&one)
        };
        complete(&own, rotation)
    };
    let rotatable = NodeKeySignature {
        wrapping_key: Some(own.id()),
        ..direct(&one)
    };
    let rotatable = complete(&one, rotatable);
    assert!(
        rotation(Some(rotatable))
            .authorize(&[7; 32], &state)
            .is_ok()
    );
    for (signature, expected) in [
        (
            NodeKeySignature {
                kind: NodeSignatureKind::Credential,
                ..direct(&one)
            },
            NodeSignatureError::Credential,
        ),
        (
            NodeKeySignature {
                signer: None,
                ..direct(&one)
            },
            NodeSignatureError::NoSigner,
        ),
        (
            NodeKeySignature {
                signature: Some([0; 64]),
                ..direct(&one)
            },
            NodeSignatureError::BadSignature,
        ),
        (
            NodeKeySignature {
                signature: None,
                ..direct(&one)
            },
            NodeSignatureError::BadSignature,
        ),
        (
            NodeKeySignature {
                nested: Some(Box::new(direct(&one))),
                ..direct(&one)
            },
            NodeSignatureError::Nested,
        ),
        (rotation(None), NodeSignatureError::NoSigner),
        (
            rotation(Some(direct(&one))),
            NodeSignatureError::NoRotationKey,
        ),
    ] {
        assert_eq!(signature.authorize(&[7; 32], &state), Err(expected));
    }
}
