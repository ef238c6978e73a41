use super::*;

#[test]
fn text_form_round_trips_and_debug_is_redacted() {
    let key = PrivateKey::from_random([7; 32]);
    let again: PrivateKey = key.expose_text().parse().expect("its own text");
    assert_eq!(again.expose_bytes(), &[7; 32]);
    assert_eq!(format!("{key:?}"), "privkey:[redacted]");
}

#[test]
fn keys_are_wiped_on_drop() {
    fn wiped<T: ZeroizeOnDrop>() {}
    wiped::<PrivateKey>();
}
