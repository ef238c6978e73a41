//! The entries of the fuzz targets, on thousands of mutated inputs.

#[path = "../../../../tests/fuzz/entry/access.rs"]
mod access;
#[path = "../../../../tests/fuzz/mutate.rs"]
mod mutate;
#[path = "../../../../tests/fuzz/entry/policies.rs"]
mod policies;

#[test]
fn any_bytes_are_read_as_a_policy_or_refused() {
    mutate::thousands(&policies::seeds(), policies::run);
}

#[test]
fn compiled_access_is_that_of_a_look_at_each_pair() {
    mutate::thousands(&access::seeds(), access::run);
}
