use super::*;

#[test]
fn values_are_of_the_type_that_they_look_like_or_that_is_given() {
    let text = |text: &str| Kind::Text(text.to_owned());
    let (string, number, flag) = (ValueType::String, ValueType::Number, ValueType::Bool);
    for (given, kind, expected) in [
        ("gold", None, text("gold")),
        ("", None, text("")),
        ("7", None, Kind::Number(7.0)),
        ("-0.5", None, Kind::Number(-0.5)),
        ("true", None, Kind::Flag(true)),
        ("True", None, text("True")),
        ("nan", None, text("nan")),
        ("1.2.3", None, text("1.2.3")),
        ("7", Some(string), text("7")),
        ("false", Some(string), text("false")),
        ("7", Some(number), Kind::Number(7.0)),
        ("false", Some(flag), Kind::Flag(false)),
    ] {
        assert_eq!(parse_value(given, kind).ok(), Some(expected), "{given}");
    }
    assert!(parse_value("gold", Some(number)).is_err());
    assert!(parse_value("infinity", Some(number)).is_err());
    assert!(parse_value("1", Some(flag)).is_err());
}

#[test]
fn value_begins_after_the_first_equals_sign() {
    let (name, value) = parse_assignment("custom:url=a=b").unwrap();
    assert_eq!((&*name, &*value), ("custom:url", "a=b"));
    for wrong in ["custom:tier", "=gold", ""] {
        assert!(
            parse_assignment(wrong)
                .unwrap_err()
                .contains("custom:tier=gold")
        );
    }
}

#[test]
fn numbers_are_shown_as_they_are_written() {
    for (number, shown) in [
        (7.0, "7"),
        (-3.0, "-3"),
        (0.5, "0.5"),
        (1e300, "1e+300"),
        (0.0, "0"),
    ] {
        assert_eq!(
            attribute_json(AttributeValue::Number(number)).to_string(),
            shown
        );
    }
}
