use serde::Deserialize;

use super::{is_signed_by_rotation, is_signed_by_trusted};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Vectors {
    ed25519: Vec<Ed25519Vector>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ed25519Vector {
    name: String,
    key: String,
    message: String,
    signature: String,
    trusted: bool,
    rotation: bool,
}

#[test]
fn signatures_on_which_implementations_disagree_are_judged_as_the_client_does() {
    let text = include_str!("../../tests/it/vectors/vectors.json");
    let vectors: Vectors = serde_json::from_str(text).expect("vectors");
    for vector in vectors.ed25519 {
        let bytes = |text: &str| hex::decode(text).expect("hex");
        let key = bytes(&vector.key).try_into().expect("32 bytes");
        let (message, signature) = (bytes(&vector.message), bytes(&vector.signature));
        assert_eq!(
            is_signed_by_trusted(&key, &message, &signature),
            vector.trusted,
            "{} {}",
            vector.name,
            vector.key
        );
        assert_eq!(
            is_signed_by_rotation(&key, &message, &signature),
            vector.rotation,
            "{} {}",
            vector.name,
            vector.key
        );
    }
}
