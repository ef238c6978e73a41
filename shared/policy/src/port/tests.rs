use super::*;

#[test]
fn lists_and_ranges_are_read() {
    let ports = |first, last| Ports { first, last };
    assert_eq!(parse("*"), Ok(vec![Ports::ALL]));
    assert_eq!(parse("22,80-90"), Ok(vec![ports(22, 22), ports(80, 90)]));
    assert_eq!(parse("1-65535"), Ok(vec![ports(1, 65535)]));
}

#[test]
fn nonsense_is_said_in_the_words_of_the_language() {
    assert_eq!(
        parse("ssh").unwrap_err(),
        "port range \"ssh\": invalid first integer"
    );
    let zero = "port range \"0\": first port must be >0, or use '*' for wildcard";
    assert_eq!(parse("0").unwrap_err(), zero);
    for wrong in [
        "", "1-", "-1", "70000", "9-8", "1,,2", "+22", "22, 80", " 22", "22 ", "1-+2", "1- 2",
        "*,22",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}
