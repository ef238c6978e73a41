//! Logs that grow: whatever comes first, all come to the same head, and what is refused changes nothing.

use bowline_tailnet_lock::{
    LockFormatError, LockLog, LockUpdate, LockUpdateError, MOST_UPDATES, NodeKeySignature,
    NodeSignatureError, NodeSignatureKind, UpdateHash, UpdateKind,
};
use proptest::prelude::*;

use crate::signing::{TestSigner, genesis, signed_update};

/// A tree of updates by three keys: each names one before it as its parent. Those that the log refuses are left out.
fn grow(steps: &[(usize, u8, u8, u8)]) -> (LockLog, Vec<LockUpdate>) {
    let signers = [1, 2, 3].map(TestSigner::new);
    let first = genesis(&[(&signers[0], 1), (&signers[1], 1), (&signers[2], 2)]);
    let mut log = LockLog::begin(first.clone()).expect("a genesis");
    let mut updates = vec![first];
    for (parent, signer, what, which) in steps {
        let parent = updates[parent % updates.len()].hash();
        let key = TestSigner::new(which % 6 + 1);
        let kind = match what % 4 {
            0 => UpdateKind::AddKey(key.key(1)),
            1 => UpdateKind::RemoveKey(key.id()),
            2 => UpdateKind::NoChange,
            _ => UpdateKind::UpdateKey {
                id: key.id(),
                votes: Some(u64::from(*which) + 1),
                metadata: [].into(),
            },
        };
        let signed_by: Vec<_> = match signer % 4 {
            3 => signers.iter().collect(),
            one => vec![&signers[usize::from(one)]],
        };
        let update = signed_update(kind, Some(parent), &signed_by);
        let before = (log.head(), log.state().clone(), log.count());
        match log.add(vec![update]) {
            Ok(added) => updates.extend(added),
            Err(_) => assert_eq!(before, (log.head(), log.state().clone(), log.count())),
        }
    }
    (log, updates)
}

proptest! {
    // Each case checks hundreds of signatures.
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn every_order_of_updates_comes_to_one_head(
        steps in prop::collection::vec((0_usize..20, 0_u8..4, 0_u8..4, 0_u8..6), 0..24),
        order in prop::collection::vec(any::<prop::sample::Index>(), 24),
    ) {
        let (log, updates) = grow(&steps);
        let mut other = LockLog::begin(updates[0].clone()).expect("a genesis");
        let mut left = updates[1..].to_vec();
        let mut order = order.into_iter().cycle();
        let mut known = vec![updates[0].hash()];
        while !left.is_empty() {
            let at = order.next().expect("a cycle").index(left.len());
            let ready = |update: &LockUpdate| update.parent.is_some_and(|it| known.contains(&it));
            let at = (at..left.len()).chain(0..at).find(|at| ready(&left[*at])).expect("a next one");
            let update = left.remove(at);
            known.push(update.hash());
            other.add(vec![update]).expect("as before");
        }
        prop_assert_eq!(log.head(), other.head());
        prop_assert_eq!(log.state(), other.state());
    }

    #[test]
    fn a_log_that_is_sent_what_it_misses_comes_to_the_same_head(
        steps in prop::collection::vec((0_usize..40, 0_u8..4, 0_u8..4, 0_u8..6), 0..40),
        known in any::<prop::sample::Index>(),
    ) {
        let (log, updates) = grow(&steps);
        let known = known.index(updates.len()) + 1;
        let mut other = LockLog::restore(updates[..known].to_vec()).expect("a log");
        let missing = log.missing_of(&other.offer()).expect("the genesis in common");
        let missing = missing.into_iter().cloned().collect();
        other.add(missing).expect("good updates");
        let back = other.missing_of(&log.offer()).expect("the genesis in common");
        let back: Vec<_> = back.into_iter().cloned().collect();
        let mut log = log;
        log.add(back).expect("good updates");
        prop_assert_eq!(log.head(), other.head());
    }
}

#[test]
fn what_is_not_canonical_is_refused() {
    let signer = TestSigner::new(1);
    let good = genesis(&[(&signer, 1)]).encode();
    let refused = |bytes: &[u8]| LockUpdate::decode(bytes).expect_err("refused");
    let format = LockUpdateError::Format;
    // One byte more, one less.
    let longer = [&good[..], &[0]].concat();
    assert_eq!(refused(&longer), format(LockFormatError::Trailing(1)));
    let shorter = &good[..good.len() - 1];
    assert_eq!(refused(shorter), format(LockFormatError::Truncated));
    // The kind in two bytes instead of one.
    let wide = [&good[..2], &[0x18, 5], &good[3..]].concat();
    assert_eq!(refused(&wide), format(LockFormatError::NotCanonical));
    // A map of indefinite length, and a tag before it.
    let indefinite = [&[0xbf], &good[1..], &[0xff]].concat();
    assert!(matches!(refused(&indefinite), LockUpdateError::Format(_)));
    let tagged = [&[0xc0], &good[..]].concat();
    assert!(matches!(refused(&tagged), LockUpdateError::Format(_)));
    // A member twice: the map says that there is one more.
    let twice = [&[good[0] + 1], &good[1..3], &good[1..]].concat();
    assert_eq!(refused(&twice), format(LockFormatError::NotCanonical));
    // A member that nobody knows.
    let unknown = [&[good[0] + 1], &good[1..], &[24, 24, 0]].concat();
    assert_eq!(
        refused(&unknown),
        format(LockFormatError::UnknownMember(24))
    );
    let long = vec![0; 1 << 20];
    assert!(matches!(refused(&long), LockUpdateError::Format(_)));
}

#[test]
fn a_log_begins_with_a_checkpoint_that_its_own_key_has_signed() {
    let (one, two) = (TestSigner::new(1), TestSigner::new(2));
    let good = genesis(&[(&one, 1)]);
    let begin = |update: &LockUpdate| LockLog::begin(update.clone()).map(|log| log.head());
    assert_eq!(begin(&good), Ok(good.hash()));
    let by_stranger = signed_update(good.kind.clone(), None, &[&two]);
    assert_eq!(begin(&by_stranger), Err(LockUpdateError::UntrustedSigner));
    let unsigned = signed_update(good.kind.clone(), None, &[]);
    assert_eq!(begin(&unsigned), Err(LockUpdateError::Unsigned));
    let with_parent = signed_update(good.kind.clone(), Some(UpdateHash([1; 32])), &[&one]);
    assert_eq!(begin(&with_parent), Err(LockUpdateError::Genesis));
    let key = signed_update(UpdateKind::AddKey(one.key(1)), None, &[&one]);
    assert_eq!(begin(&key), Err(LockUpdateError::Genesis));
}

#[test]
fn a_log_ends_where_clients_follow_no_further() {
    let one = TestSigner::new(1);
    let mut updates = vec![genesis(&[(&one, 1)])];
    let mut parent = updates[0].hash();
    for _ in 1..MOST_UPDATES {
        // Signatures are not what this is about.
        let update = signed_update(UpdateKind::NoChange, Some(parent), &[]);
        parent = update.hash();
        updates.push(update);
    }
    let mut log = LockLog::restore(updates).expect("as many as clients follow");
    assert_eq!(log.head(), parent);
    let more = signed_update(UpdateKind::NoChange, Some(parent), &[&one]);
    let full = log.add(vec![more]);
    assert_eq!(full, Err(LockUpdateError::LogFull(MOST_UPDATES + 1)));
}

#[test]
fn signatures_are_nested_as_deep_as_clients_read() {
    let own = TestSigner::new(9);
    let mut signature = NodeKeySignature {
        kind: NodeSignatureKind::Direct,
        node_key: Some([1; 32]),
        signer: Some([2; 32]),
        signature: Some([3; 64]),
        nested: None,
        wrapping_key: Some(own.id()),
    };
    for _ in 1..16 {
        assert!(NodeKeySignature::decode(&signature.encode()).is_ok());
        signature = NodeKeySignature {
            kind: NodeSignatureKind::Rotation,
            node_key: Some([1; 32]),
            signer: None,
            signature: Some([3; 64]),
            nested: Some(Box::new(signature)),
            wrapping_key: None,
        };
    }
    assert!(NodeKeySignature::decode(&signature.encode()).is_ok());
    let deeper = NodeKeySignature {
        nested: Some(Box::new(signature.clone())),
        ..signature
    };
    let refused = NodeKeySignature::decode(&deeper.encode());
    assert_eq!(refused, Err(LockFormatError::TooDeep(16)));
}

#[test]
fn the_secret_of_a_lock_is_known_by_its_value() {
    let log = LockLog::begin(genesis(&[(&TestSigner::new(1), 1)])).expect("a genesis");
    let value = |secret| bowline_tailnet_lock::derive_disablement_value(secret).expect("short");
    assert!(log.state().has_disablement_value(&value(b"secret")));
    assert!(!log.state().has_disablement_value(&value(b"secreT")));
}

#[test]
fn a_signature_ends_with_the_trust_in_its_signer() {
    let (one, two) = (TestSigner::new(1), TestSigner::new(2));
    let mut log = LockLog::begin(genesis(&[(&one, 1), (&two, 1)])).expect("a genesis");
    let mut signature = NodeKeySignature {
        kind: NodeSignatureKind::Direct,
        node_key: Some([7; 32]),
        signer: Some(two.id()),
        signature: None,
        nested: None,
        wrapping_key: None,
    };
    signature.signature = Some(two.sign(&signature.signed_hash()));
    assert!(signature.authorize(&[7; 32], log.state()).is_ok());
    let other = signature.authorize(&[8; 32], log.state());
    assert_eq!(other, Err(NodeSignatureError::OtherNodeKey));
    let removal = signed_update(UpdateKind::RemoveKey(two.id()), Some(log.head()), &[&one]);
    log.add(vec![removal]).expect("a removal");
    let untrusted = signature.authorize(&[7; 32], log.state());
    assert_eq!(untrusted, Err(NodeSignatureError::UntrustedSigner));
}
