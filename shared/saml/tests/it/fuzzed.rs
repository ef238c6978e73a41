//! The entry of the fuzz target, on thousands of mutated inputs.

#[path = "../../../../tests/fuzz/entry/answers.rs"]
mod answers;
#[path = "../../../../tests/fuzz/mutate.rs"]
mod mutate;

#[test]
fn only_what_was_signed_is_read() {
    mutate::thousands(&answers::seeds(), answers::run);
}
