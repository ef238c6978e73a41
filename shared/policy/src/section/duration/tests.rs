use super::*;

#[test]
fn durations_are_read_as_go_does() {
    for (text, nanos) in [
        ("12h", 43_200_000_000_000),
        ("1h30m", 5_400_000_000_000),
        ("0s", 0),
        ("0", 0),
        ("+5s", 5_000_000_000),
        ("1.5h", 5_400_000_000_000),
        (".5s", 500_000_000),
        ("1.s", 1_000_000_000),
        ("1\u{b5}s1us", 2_000),
        ("-1m", -60_000_000_000),
        ("-1.5s", -1_500_000_000),
        ("9223372036854775807ns", i64::MAX),
        ("-9223372036854775808ns", i64::MIN),
    ] {
        assert_eq!(parse(text), Ok(nanos), "{text}");
    }
}

#[test]
fn what_is_none_is_told_in_go_s_words() {
    for (text, said) in [
        ("7d", r#"unknown unit "d" in duration "7d""#),
        ("1h5x", r#"unknown unit "x" in duration "1h5x""#),
        ("5", r#"missing unit in duration "5""#),
        ("1h5", r#"missing unit in duration "1h5""#),
        ("1h-2m", r#"unknown unit "h-" in duration "1h-2m""#),
        ("", r#"invalid duration """#),
        ("-", r#"invalid duration "-""#),
        ("abc", r#"invalid duration "abc""#),
        (".h", r#"invalid duration ".h""#),
        (" 5s", r#"invalid duration " 5s""#),
        ("2562048h", r#"invalid duration "2562048h""#),
        (
            "9223372036854775808ns",
            r#"invalid duration "9223372036854775808ns""#,
        ),
        (
            "5\u{b5}",
            r#"unknown unit "\xc2\xb5" in duration "5\xc2\xb5""#,
        ),
    ] {
        assert_eq!(parse(text), Err(format!("time: {said}")), "{text}");
    }
}

#[test]
fn durations_are_written_as_go_does() {
    for (nanos, said) in [
        (0, "0s"),
        (-60_000_000_000, "-1m0s"),
        (720_000_000_000_000, "200h0m0s"),
        (-1_500_000_000, "-1.5s"),
        (1_500_000, "1.5ms"),
        (-7, "-7ns"),
        (61_000_000_001, "1m1.000000001s"),
    ] {
        assert_eq!(format_duration(nanos), said);
    }
}
