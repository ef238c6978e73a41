//! The entry of the fuzz target, on thousands of mutated inputs.

#[path = "../../../../tests/fuzz/entry/addresses.rs"]
mod addresses;
#[path = "../../../../tests/fuzz/mutate.rs"]
mod mutate;

#[test]
fn every_address_is_answered() {
    mutate::thousands(&addresses::seeds(), addresses::run);
}
