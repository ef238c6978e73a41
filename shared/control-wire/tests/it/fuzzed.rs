//! The entries of the fuzz targets, on thousands of mutated inputs.

#[path = "../../../../tests/fuzz/entry/frames.rs"]
mod frames;
#[path = "../../../../tests/fuzz/mutate.rs"]
mod mutate;
#[path = "../../../../tests/fuzz/entry/requests.rs"]
mod requests;

#[test]
fn any_bytes_are_read_as_a_request_or_refused() {
    mutate::thousands(&requests::seeds(), requests::run);
}

#[test]
fn any_bytes_are_read_as_frames_or_refused() {
    mutate::thousands(&frames::seeds(), frames::run);
}
