//! Logs that somebody fills: the work is bounded, and what takes trust away has room.

use bowline_tailnet_lock::{
    LockKey, LockLog, LockUpdate, LockUpdateError, MOST_UPDATES, UpdateHash, UpdateKind,
};

use crate::signing::{TestSigner, genesis, signed_update};

fn two_signers() -> (TestSigner, TestSigner, LockUpdate) {
    let (one, thief) = (TestSigner::new(1), TestSigner::new(2));
    let first = genesis(&[(&one, 2), (&thief, 1)]);
    (one, thief, first)
}

/// Updates that follow each other; signatures are not what this is about.
fn chain_after(first: &LockUpdate, count: usize) -> Vec<LockUpdate> {
    let mut parent = first.hash();
    let next = |_| {
        let update = signed_update(UpdateKind::NoChange, Some(parent), &[]);
        parent = update.hash();
        update
    };
    (0..count).map(next).collect()
}

/// As many different updates with one parent.
fn siblings(parent: UpdateHash, count: usize) -> Vec<LockUpdate> {
    let sibling = |number: usize| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&number.to_le_bytes());
        let key = LockKey {
            id,
            votes: 1,
            metadata: [].into(),
        };
        signed_update(UpdateKind::AddKey(key), Some(parent), &[])
    };
    (0..count).map(sibling).collect()
}

#[test]
fn last_places_of_the_chain_are_for_what_takes_trust_away() {
    let (one, thief, first) = two_signers();
    let filled = chain_after(&first, MOST_UPDATES - 101);
    let mut log = LockLog::restore([vec![first], filled].concat()).expect("a log");
    let more = signed_update(UpdateKind::NoChange, Some(log.head()), &[&one]);
    let refused = log.add(vec![more]).expect_err("full");
    assert_eq!(refused, LockUpdateError::LogFull(MOST_UPDATES - 99));
    let remove = UpdateKind::RemoveKey(thief.id());
    let remedy = signed_update(remove, Some(log.head()), &[&one]);
    log.add(vec![remedy]).expect("the remedy has room");
    assert!(!log.is_trusted(&thief.id()));
}

#[test]
fn updates_that_do_not_count_are_bounded_and_take_no_place_from_those_that_do() {
    let (one, thief, first) = two_signers();
    let beside = siblings(first.hash(), 1002);
    let mut log = LockLog::restore([vec![first.clone()], beside].concat()).expect("a log");
    assert_eq!(log.chain_length(), 2);
    let by = |signer: &TestSigner, kind| signed_update(kind, Some(first.hash()), &[signer]);
    // It outweighs those that nobody has signed.
    let by_thief = by(&thief, UpdateKind::AddKey(TestSigner::new(9).key(1)));
    log.add(vec![by_thief]).expect("it counts");
    let remedy = by(&one, UpdateKind::RemoveKey(thief.id()));
    let head = remedy.hash();
    log.add(vec![remedy]).expect("the remedy counts");
    assert_eq!(log.head(), head);
    let lost = by(&thief, UpdateKind::AddKey(TestSigner::new(8).key(1)));
    let refused = log.add(vec![lost]).expect_err("it does not count");
    assert!(matches!(refused, LockUpdateError::Aside(_)), "{refused}");
}

#[test]
fn log_has_no_more_bytes_than_it_may() {
    let (one, thief, first) = two_signers();
    let mut parent = first.hash();
    let large = |number: u64| {
        let kind = UpdateKind::UpdateKey {
            id: one.id(),
            votes: Some(number + 1),
            metadata: [("x".to_owned(), "y".repeat(500))].into(),
        };
        // Signatures are not what this is about: there are as many as fill the log.
        let mut update = signed_update(kind, Some(parent), &[&one]);
        let again = update.signatures[0].clone();
        update.signatures.extend(std::iter::repeat_n(again, 11));
        parent = update.hash();
        update
    };
    let updates = (0..1800).map(large).collect();
    let mut log = LockLog::restore([vec![first], updates].concat()).expect("a log");
    assert!(log.bytes() > 3 << 20, "{}", log.bytes());
    let kind = UpdateKind::NoChange;
    let more = signed_update(kind, Some(log.head()), &[&one]);
    let refused = log.add(vec![more]).expect_err("full");
    assert!(
        matches!(refused, LockUpdateError::LogTooLong(_)),
        "{refused}"
    );
    let remove = UpdateKind::RemoveKey(thief.id());
    let remedy = signed_update(remove, Some(log.head()), &[&one]);
    log.add(vec![remedy]).expect("the remedy has room");
}

#[test]
fn key_signs_an_update_once() {
    let (one, thief, first) = two_signers();
    let mut log = LockLog::begin(first).expect("a genesis");
    let twice = signed_update(
        UpdateKind::NoChange,
        Some(log.head()),
        &[&one, &thief, &one],
    );
    assert_eq!(log.add(vec![twice]), Err(LockUpdateError::SignedTwice));
}

#[test]
fn key_has_no_more_metadata_than_it_may() {
    let (one, _, first) = two_signers();
    let with_pairs = |count: usize| {
        let mut key = TestSigner::new(9).key(1);
        let pairs = (0..count).map(|number| (number.to_string(), String::new()));
        key.metadata = pairs.collect();
        signed_update(UpdateKind::AddKey(key), Some(first.hash()), &[&one])
    };
    let read = |count| LockUpdate::decode(&with_pairs(count).encode());
    assert_eq!(read(33), Err(LockUpdateError::MetadataPairs(33)));
    assert_eq!(read(32), Ok(with_pairs(32)));
}
