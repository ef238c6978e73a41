use super::*;

#[test]
fn hashes_are_short_and_tell_keys_and_machines_apart() {
    let (key, machine) = ([1; 32], [2; 32]);
    assert_eq!(
        (hash_key(&key).len(), hash_machine(&key, &machine).len()),
        (16, 8)
    );
    assert_ne!(hash_key(&key), hash_key(&[3; 32]));
    assert_ne!(hash_machine(&key, &machine), hash_machine(&key, &[3; 32]));
    // The same machine can not be found by its hash among several keys.
    assert_ne!(
        hash_machine(&key, &machine),
        hash_machine(&[3; 32], &machine)
    );
}
