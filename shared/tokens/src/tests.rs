use super::*;

#[test]
fn token_names_its_id_and_proves_itself() {
    for kind in TokenKind::ALL {
        let made = kind.make_token([1; 6], [2; 32]);
        let word = kind.as_str();
        assert!(
            made.text
                .starts_with(&format!("bowline-{word}-010101010101-0202")),
            "{}",
            *made.text
        );
        let presented = PresentedToken::parse(&made.text).expect("the form of a token");
        assert_eq!(
            (presented.kind(), presented.id()),
            (kind, "010101010101"),
            "{word}"
        );
        assert!(presented.matches(&made.hash), "{word}");
        assert_eq!(PresentedToken::parse_as(kind, &made.text), Some(presented));
    }
}

#[test]
fn another_secret_id_or_kind_proves_nothing() {
    let made = TokenKind::ApiKey.make_token([1; 6], [2; 32]);
    for other in [
        TokenKind::ApiKey.make_token([1; 6], [3; 32]),
        TokenKind::ApiKey.make_token([9; 6], [2; 32]),
        TokenKind::Session.make_token([1; 6], [2; 32]),
    ] {
        let presented = PresentedToken::parse(&other.text).expect("the form of a token");
        assert!(!presented.matches(&made.hash), "{other:?}");
    }
    let presented = PresentedToken::parse(&made.text).expect("the form of a token");
    assert!(!presented.matches(&[]), "a row without hash");
    assert!(!presented.matches(&made.hash[..31]), "a part of the hash");
    assert_eq!(
        PresentedToken::parse_as(TokenKind::ScimToken, &made.text),
        None
    );
}

#[test]
fn what_has_another_form_is_no_token() {
    let made = TokenKind::ApiKey.make_token([1; 6], [0xAB; 32]);
    for wrong in [
        String::new(),
        "bowline-".to_owned(),
        "bowline-api-010101010101-".to_owned(),
        made.text.replace("bowline", "tskey"),
        made.text.replace("api", "key"),
        made.text
            .to_uppercase()
            .replace("BOWLINE-API", "bowline-api"),
        format!("{}0", *made.text),
        format!("{} ", *made.text),
        made.text[..made.text.len() - 1].to_owned(),
        made.text.replacen("01", "zz", 1),
    ] {
        assert_eq!(PresentedToken::parse(&wrong), None, "{wrong}");
    }
}

#[test]
fn secret_is_not_shown() {
    let made = TokenKind::ApiKey.make_token([1; 6], [2; 32]);
    let presented = PresentedToken::parse(&made.text).expect("the form of a token");
    for shown in [format!("{made:?}"), format!("{presented:?}")] {
        assert!(shown.contains("010101010101"), "{shown}");
        assert!(!shown.contains("0202"), "{shown}");
    }
}
