use super::*;

#[test]
fn text_form_round_trips_and_is_strict() {
    let id = LoginId::from_random([0xa5; 16]);
    assert_eq!(id.to_string().parse(), Ok(id));
    for text in [
        "",
        "a5",
        &"A5".repeat(16),
        &"a5".repeat(17),
        &"é".repeat(16),
    ] {
        assert_eq!(text.parse::<LoginId>(), Err(InvalidLoginId), "{text}");
    }
}
