//! What an answer may cost.

use super::*;
use provider::{changed, signed_with};

#[track_caller]
fn refuse_markup(text: &str) -> MarkupError {
    match refuse(text) {
        SamlError::Markup(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_mebibyte() {
    let long = changed(&signed(), "ada-7d1f", &"a".repeat(1 << 20));
    assert_eq!(refuse_markup(&long), MarkupError::TooLong(256 * 1024));
    let field = STANDARD.encode(long);
    assert_eq!(
        verify_response(&field, &expectation(&provider::metadata())),
        Err(SamlError::Markup(MarkupError::TooLong(256 * 1024)))
    );
}

#[test]
fn deeply_nested() {
    for (open, close) in [("<a>", "</a>"), ("<a b='>'>", "</a>"), ("<a\n>", "</a >")] {
        let nested = format!("{}{}", open.repeat(10_000), close.repeat(10_000));
        let text = changed(
            &signed(),
            "<samlp:Status>",
            &format!("{nested}<samlp:Status>"),
        );
        assert_eq!(refuse_markup(&text), MarkupError::TooDeep(32));
    }
    // Up to the limit it is read; elements that are empty or closed are not deeper.
    let text = format!(
        "{}{}",
        "<a>".repeat(30),
        "<b/>".repeat(50) + &"</a>".repeat(30)
    );
    let text = changed(
        &signed(),
        "<samlp:Status>",
        &format!("{text}<samlp:Status>"),
    );
    assert_eq!(accept(&text).id, "_assertion");
}

#[test]
fn entities() {
    let declaration =
        "<!DOCTYPE a [<!ENTITY b 'bbbbbbbbbb'><!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;'>]>";
    let text = format!("{declaration}{}", changed(&signed(), "ada-7d1f", "&c;"));
    assert_eq!(refuse_markup(&text), MarkupError::Doctype);
    let text = changed(&signed(), "ada-7d1f", "&c;");
    assert!(matches!(
        refuse_markup(&text),
        MarkupError::NotWellFormed(_)
    ));
    let external = format!("<!DOCTYPE a SYSTEM 'file:///etc/passwd'>{}", signed());
    assert_eq!(refuse_markup(&external), MarkupError::Doctype);
}

#[test]
fn declaration_and_encoding() {
    for declaration in [
        "<?xml version=\"1.0\"?>",
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n",
        "\u{feff}<?xml version='1.0' encoding='UTF-8' standalone='yes'?>",
    ] {
        let text = format!("{declaration}{}", signed());
        assert_eq!(accept(&text).id, "_assertion", "{declaration}");
    }
    let other = format!(
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>{}",
        signed()
    );
    assert_eq!(refuse_markup(&other), MarkupError::NotUtf8);
    let twice = format!("<?xml version=\"1.0\"?><?xml version=\"1.0\"?>{}", signed());
    assert_eq!(refuse_markup(&twice), MarkupError::ProcessingInstruction);
    let style = format!("<?xml-stylesheet href='a'?>{}", signed());
    assert_eq!(refuse_markup(&style), MarkupError::ProcessingInstruction);
    let mut bytes = signed().into_bytes();
    bytes[100] = 0xff;
    assert_eq!(
        verify_response_xml(&bytes, &expectation(&provider::metadata())),
        Err(SamlError::Markup(MarkupError::NotUtf8))
    );
}

#[test]
fn not_well_formed() {
    for text in [
        "", "<", "<a", "<a b='", "<a></b>", "<a/><a/>", "text", "<!", "<?xml", "<a:b/>", "&lt;",
    ] {
        let error = refuse(text);
        assert!(matches!(error, SamlError::Markup(_)), "{text}: {error}");
    }
    assert_eq!(refuse("<a/>"), SamlError::NotResponse("a".to_owned()));
}

#[test]
fn errors_repeat_little_of_what_was_sent() {
    let long = "a".repeat(100_000);
    for text in [
        format!("<{long}/>"),
        format!("<a></{long}>"),
        format!("<{long}:a/>"),
        format!("<a {long}='' {long}=''/>"),
        format!("<a>&{long};</a>"),
        changed(&signed(), "2.0:status:Success", &long),
        changed(
            &signed(),
            "<saml:Assertion",
            &format!("<saml:Assertion {long}=''"),
        ),
        signed_with(ENTITY, &long),
        signed_with(PROVIDER, &long),
    ] {
        let error = refuse(&text).to_string();
        assert!(error.len() < 1000, "{} bytes: {:.100}", error.len(), error);
    }
}

#[test]
fn many_attributes_of_xml() {
    let many: String = (0..20_000).map(|number| format!(" a{number}=''")).collect();
    let text = changed(
        &signed(),
        "<samlp:Status>",
        &format!("<samlp:Status{many}>"),
    );
    assert_eq!(refuse_markup(&text), MarkupError::TooManyAttributes);
    let many = "<a/>".repeat(20_000);
    let text = changed(
        &signed(),
        "<samlp:Status>",
        &format!("{many}<samlp:Status>"),
    );
    assert_eq!(refuse_markup(&text), MarkupError::TooManyElements);
}

#[test]
fn many_attributes_of_a_person() {
    let values = |count: usize| {
        let values = "<saml:AttributeValue>g</saml:AttributeValue>".repeat(count);
        signed_with(
            "<saml:AttributeStatement>",
            &format!(
                "<saml:AttributeStatement><saml:Attribute Name=\"many\">{values}</saml:Attribute>"
            ),
        )
    };
    assert_eq!(accept(&values(4990)).attributes["many"].len(), 4990);
    assert_eq!(refuse(&values(5000)), SamlError::TooManyValues(5000));
    let attributes = "<saml:Attribute Name=\"a\"/>".repeat(5000);
    let text = signed_with(
        "<saml:AttributeStatement>",
        &format!("<saml:AttributeStatement>{attributes}"),
    );
    assert_eq!(refuse(&text), SamlError::TooManyValues(5000));
}

#[test]
fn long_values() {
    let long = "a".repeat(5000);
    let too_long = |name: &str, longest| SamlError::TooLong {
        name: name.to_owned(),
        longest,
    };
    assert_eq!(
        refuse(&signed_with("ada-7d1f", &long)),
        too_long("NameID", 1024)
    );
    assert_eq!(
        refuse(&signed_with("engineers", &long)),
        too_long("groups", 4096)
    );
    assert_eq!(
        refuse(&signed_with("session-1", &long)),
        too_long("SessionIndex", 1024)
    );
    assert_eq!(
        refuse(&signed_with("Name=\"mail\"", &format!("Name=\"{long}\""))),
        too_long("Name", 4096)
    );
}

#[test]
fn attributes_are_texts() {
    let text = signed_with(
        "<saml:AttributeValue>ada@example.com</saml:AttributeValue>",
        "<saml:AttributeValue> ada@example.com\n</saml:AttributeValue><saml:AttributeValue/>\
         <saml:AttributeValue><saml:NameID>inside</saml:NameID></saml:AttributeValue>\
         <saml:AttributeValue><b>no text</b></saml:AttributeValue>",
    );
    assert_eq!(
        accept(&text).attributes["mail"],
        ["ada@example.com", "", "inside"]
    );
    let text = signed_with("Name=\"mail\"", "Name=\"groups\"");
    assert_eq!(
        accept(&text).attributes["groups"],
        ["engineers", "on & call", "ada@example.com"]
    );
    assert_eq!(
        refuse(&signed_with("Name=\"mail\"", "Name=\"\"")),
        SamlError::Missing("Name of an Attribute")
    );
}
