//! Any bytes as an update of tailnet lock, and as a signature of a node key.

use bowline_tailnet_lock::{LockUpdate, NodeKeySignature};

/// What the Go client has made of either kind.
pub fn seeds() -> Vec<Vec<u8>> {
    let text = include_str!("../../../shared/tailnet-lock/tests/it/vectors/vectors.json");
    let bytes = text.lines().filter_map(|line| {
        let (_, value) = line.split_once("\"Bytes\": \"")?;
        decode_hex(value.split_once('"')?.0)
    });
    bytes.collect()
}

/// What is read encodes to the very bytes it was read from.
pub fn run(input: &[u8]) {
    if let Ok(update) = LockUpdate::decode(input) {
        assert_eq!(update.encode(), input);
    }
    if let Ok(signature) = NodeKeySignature::decode(input) {
        assert_eq!(signature.encode(), input);
    }
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(digit).collect()
}
