//! The entry of the fuzz target, on thousands of mutated inputs.

#[path = "../../../../tests/fuzz/mutate.rs"]
mod mutate;
#[path = "../../../../tests/fuzz/entry/updates.rs"]
mod updates;

#[test]
fn whatever_is_read_has_one_form() {
    mutate::thousands(&updates::seeds(), updates::run);
}
