use super::*;

#[test]
fn names_and_numbers_are_read() {
    assert_eq!(
        (parse("TCP"), parse("47"), parse("icmp")),
        (Ok(6), Ok(47), Ok(1))
    );
    for wrong in ["", "0", "06", "256", "*", "tcpx"] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}
