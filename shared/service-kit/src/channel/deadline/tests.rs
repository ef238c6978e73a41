use super::*;

#[test]
fn timeouts_are_digits_and_a_unit() {
    assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
    assert_eq!(
        parse_timeout("99999999H"),
        Some(Duration::from_secs(99_999_999 * 3600))
    );
    for text in ["", "S", "1", "1x", "-1S", "123456789S", "é"] {
        assert_eq!(parse_timeout(text), None, "{text}");
    }
}
