//! What the Go client says of messages that its library has made (`vectors/main.go`): the server says the same.

use std::collections::BTreeSet;

use bowline_tailnet_lock::{
    LockLog, LockUpdate, NodeKeySignature, SyncOffer, UpdateHash, derive_disablement_value,
};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Vectors {
    disablement_secret: String,
    disablement_value: String,
    logs: Vec<LogVector>,
    genesis: String,
    node_signatures: Vec<SignatureVector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LogVector {
    name: String,
    updates: Vec<UpdateVector>,
    offers: Vec<OfferVector>,
    /// None where the log is too short for it.
    compacted: Option<Vec<CompactedVector>>,
    trusted: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateVector {
    name: String,
    bytes: String,
    hash: String,
    signed_hash: String,
    /// The head after it; empty where the client refuses it.
    head: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OfferVector {
    head: String,
    ancestors: Vec<String>,
    missing: Vec<String>,
}

/// What a client keeps that has forgotten what it may forget.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CompactedVector {
    head: String,
    oldest: String,
    kept: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SignatureVector {
    name: String,
    node_key: String,
    bytes: String,
    authorized: bool,
    former_keys: Option<Vec<String>>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors/vectors.json")).expect("vectors")
}

fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text).expect("hex")
}

fn hash(text: &str) -> UpdateHash {
    UpdateHash::parse(text).expect("a hash")
}

/// Tells a log of all updates of a vector, and returns it with those that were taken.
fn replay(vector: &LogVector) -> (LockLog, Vec<LockUpdate>) {
    let (first, others) = vector.updates.split_first().expect("a genesis");
    let genesis = LockUpdate::decode(&bytes(&first.bytes)).expect("a genesis");
    let mut taken = vec![genesis.clone()];
    let mut log = LockLog::begin(genesis).expect("a genesis");
    for update in others {
        let name = &update.name;
        let added = LockUpdate::decode(&bytes(&update.bytes)).and_then(|it| log.add(vec![it]));
        assert_eq!(added.is_ok(), !update.head.is_empty(), "{name}: {added:?}");
        if let Ok(added) = added {
            assert_eq!(log.head().to_string(), update.head, "{name}");
            taken.extend(added);
        }
    }
    (log, taken)
}

#[test]
fn updates_read_and_hash_as_the_client_says() {
    for update in vectors().logs.iter().flat_map(|log| &log.updates) {
        let Ok(read) = LockUpdate::decode(&bytes(&update.bytes)) else {
            assert_eq!(update.head, "", "{} is not read", update.name);
            continue;
        };
        assert_eq!(read.encode(), bytes(&update.bytes), "{}", update.name);
        assert_eq!(read.hash().to_string(), update.hash, "{}", update.name);
        assert_eq!(
            hex::encode(read.signed_hash()),
            update.signed_hash,
            "{}",
            update.name
        );
    }
}

#[test]
fn logs_take_and_refuse_the_same_updates_and_come_to_the_same_heads() {
    for vector in vectors().logs {
        let (log, taken) = replay(&vector);
        let keys = log.state().keys.iter();
        let trusted: BTreeSet<_> = keys.map(|key| hex::encode(key.id)).collect();
        assert_eq!(trusted, vector.trusted, "{}", vector.name);
        let restored = LockLog::restore(taken).expect("a log");
        assert_eq!(restored.head(), log.head(), "{}", vector.name);
        assert_eq!(restored.state(), log.state(), "{}", vector.name);
    }
}

#[test]
fn clients_are_sent_what_they_miss() {
    for vector in vectors().logs {
        let (log, _) = replay(&vector);
        for offer in &vector.offers {
            let remote = SyncOffer {
                head: hash(&offer.head),
                ancestors: offer.ancestors.iter().map(|text| hash(text)).collect(),
            };
            let missing = log.missing_of(&remote).expect("something in common");
            let missing: Vec<_> = missing.iter().map(|it| it.hash().to_string()).collect();
            assert_eq!(missing, offer.missing, "{}", vector.name);
        }
    }
}

/// A client finds out what it has in common with the server among what the server offers: updates that it has kept, from
/// a checkpoint on.
#[test]
fn clients_that_were_away_for_long_have_something_in_common_with_the_offer() {
    let mut tried = 0;
    for vector in vectors().logs {
        let (log, _) = replay(&vector);
        let offer = log.offer();
        for client in vector.compacted.iter().flatten() {
            let offered = std::iter::once(&offer.head).chain(&offer.ancestors);
            let mut offered = offered.map(ToString::to_string);
            assert!(offered.any(|hash| client.kept.contains(&hash)));
            let remote = SyncOffer {
                head: hash(&client.head),
                ancestors: vec![hash(&client.oldest)],
            };
            assert!(log.missing_of(&remote).is_some());
            tried += 1;
        }
    }
    assert!(tried > 3);
}

#[test]
fn node_keys_are_authorised_as_the_client_says() {
    let vectors = vectors();
    let genesis = LockUpdate::decode(&bytes(&vectors.genesis)).expect("a genesis");
    let log = LockLog::begin(genesis).expect("a genesis");
    for vector in &vectors.node_signatures {
        let node_key = bytes(&vector.node_key).try_into().expect("32 bytes");
        let read = NodeKeySignature::decode(&bytes(&vector.bytes));
        let authorized = read.map(|signature| signature.authorize(&node_key, log.state()));
        let authorized = authorized.ok().and_then(Result::ok);
        assert_eq!(authorized.is_some(), vector.authorized, "{}", vector.name);
        let rotation = authorized.and_then(|it| it.rotation);
        let former = rotation.map(|it| it.former_keys.iter().map(hex::encode).collect());
        let former: Vec<_> = former.unwrap_or_default();
        let expected = vector.former_keys.clone().unwrap_or_default();
        assert_eq!(former, expected, "{}", vector.name);
    }
}

#[test]
fn disablement_values_are_derived_as_the_client_says() {
    let vectors = vectors();
    let value = derive_disablement_value(&bytes(&vectors.disablement_secret));
    assert_eq!(value.map(hex::encode), Some(vectors.disablement_value));
}
