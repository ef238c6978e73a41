//! What is kept of a node key that was retired long ago: hashes that are too short to be a key, and long enough that no two
//! are the same.

use sha2::{Digest as _, Sha256};

/// Of 10 billion keys, two have the same hash with a chance of one to 10 quintillion.
const KEY_BYTES: usize = 16;
const MACHINE_BYTES: usize = 8;

/// Returns what a node key is found by.
pub fn hash_key(node_key: &[u8]) -> Vec<u8> {
    Sha256::digest(node_key)[..KEY_BYTES].to_vec()
}

/// Returns what tells the machine that had a key from others.
pub fn hash_machine(node_key: &[u8], machine_key: &[u8]) -> Vec<u8> {
    let mut hasher = Sha256::new();
    hasher.update(node_key);
    hasher.update(machine_key);
    hasher.finalize()[..MACHINE_BYTES].to_vec()
}

#[cfg(test)]
mod tests;
