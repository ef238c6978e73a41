//! The entries of the fuzz targets, on thousands of mutated inputs.

#[path = "../../../../tests/fuzz/entry/handshakes.rs"]
mod handshakes;
#[path = "../../../../tests/fuzz/mutate.rs"]
mod mutate;
#[path = "../../../../tests/fuzz/entry/records.rs"]
mod records;

#[test]
fn only_a_good_handshake_is_accepted() {
    mutate::thousands(&handshakes::seeds(), handshakes::run);
}

#[test]
fn only_what_was_sent_is_read() {
    mutate::thousands(&records::seeds(), records::run);
}
