//! The entry of the fuzz target, on thousands of mutated inputs.

#[path = "../../../../tests/fuzz/entry/boxes.rs"]
mod boxes;
#[path = "../../../../tests/fuzz/mutate.rs"]
mod mutate;

#[test]
fn only_what_was_sealed_opens() {
    mutate::thousands(&boxes::seeds(), boxes::run);
}
