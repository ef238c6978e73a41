use super::*;

#[test]
fn a_hint_survives_its_text() {
    let hint = Hint {
        tailnet: TailnetId::try_from(7_u64).unwrap(),
        revision: Revision::new(9),
        soft_revision: 3,
    };
    assert_eq!(Hint::decode(hint.encode().as_bytes()), Some(hint));
}

#[test]
fn what_is_not_a_hint_is_refused() {
    let long = format!(
        r#"{{"tailnet":1,"revision":1,"soft_revision":1{}}}"#,
        " ".repeat(200)
    );
    for text in [
        "",
        "null",
        "[1,1,1]",
        r#"{"tailnet":0,"revision":1,"soft_revision":1}"#,
        r#"{"tailnet":9007199254740992,"revision":1,"soft_revision":1}"#,
        r#"{"tailnet":1,"revision":-1,"soft_revision":1}"#,
        r#"{"tailnet":1,"revision":18446744073709551615,"soft_revision":1}"#,
        r#"{"tailnet":1,"revision":1}"#,
        r#"{"tailnet":1,"revision":1,"soft_revision":1,"data":"x"}"#,
        &long,
    ] {
        assert_eq!(Hint::decode(text.as_bytes()), None, "{text}");
    }
}
