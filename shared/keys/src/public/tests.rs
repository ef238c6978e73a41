use super::*;

#[test]
fn text_form_round_trips_in_either_case() {
    let key = NodePublic::from_bytes([0xab; 32]);
    let text = format!("nodekey:{}", "ab".repeat(32));
    assert_eq!(key.to_string(), text);
    assert_eq!(text.parse(), Ok(key));
    assert_eq!(format!("nodekey:{}", "AB".repeat(32)).parse(), Ok(key));
    assert_eq!(key.to_hex(), "ab".repeat(32));
}

#[test]
fn other_kinds_lengths_and_spaces_are_refused() {
    let hex = "ab".repeat(32);
    assert_eq!(
        format!("mkey:{hex}").parse::<NodePublic>(),
        Err(KeyError::Prefix("nodekey:"))
    );
    for digits in [
        &hex[1..],
        &format!("{hex}0"),
        &format!(" {}", &hex[1..]),
        "",
    ] {
        let text = format!("nodekey:{digits}");
        assert_eq!(text.parse::<NodePublic>(), Err(KeyError::Digits), "{text}");
    }
    assert_eq!(
        NodePublic::try_from(&[1_u8; 31][..]),
        Err(KeyError::Length(31))
    );
}

#[test]
fn debug_form_is_short() {
    assert_eq!(
        format!("{:?}", MachinePublic::from_bytes([0xcd; 32])),
        "mkey:cdcdcdcd…"
    );
}
