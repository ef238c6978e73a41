use super::*;

fn holds(assertion: &str) -> bool {
    let mut posture = Posture::default();
    posture.add(assertion).unwrap();
    let text = |text: &str| AttributeValue::Text(text.to_owned());
    posture.is_met_by(&Attributes::from([
        ("node:os".to_owned(), text("linux")),
        ("node:tsVersion".to_owned(), text("1.102.5")),
        ("falcon:ztaScore".to_owned(), AttributeValue::Number(70.0)),
        ("node:tsAutoUpdate".to_owned(), AttributeValue::Bool(true)),
        ("custom:level".to_owned(), AttributeValue::Number(3.0)),
    ]))
}

#[test]
fn assertions_are_judged() {
    for (assertion, verdict) in [
        ("node:os == 'linux'", true),
        ("node:os != 'linux'", false),
        ("node:os IN ['macos', 'linux']", true),
        ("node:os NOT IN ['macos','linux']", false),
        ("node:tsVersion >= '1.40'", true),
        ("node:tsVersion >= '1.102.5'", true),
        ("node:tsVersion < '1.102.10'", true),
        ("falcon:ztaScore >= 70", true),
        ("falcon:ztaScore < 70", false),
        ("node:tsAutoUpdate == true", true),
        ("node:tsAutoUpdate", true),
        ("node:os", false),
        ("node:os IS SET", true),
        ("node:tsReleaseTrack IS NOT SET", true),
        ("node:tsReleaseTrack NOT SET", true),
        ("custom:tier IS NOT SET", true),
        ("custom:level IS NOT SET", false),
        ("custom:level >= 3", true),
        ("custom:level == '3'", false),
        ("ip:country IS NOT SET", false),
        ("custom:tier != 'gold'", false),
        ("node:os == 7", false),
    ] {
        assert_eq!(holds(assertion), verdict, "{assertion}");
    }
}

#[test]
fn what_is_no_assertion_is_refused() {
    for wrong in [
        "",
        "node",
        "node:",
        "os == 'linux'",
        "node:os ~ 'x'",
        "node:os == linux",
        "node:os IN 'x'",
    ] {
        assert!(Posture::default().add(wrong).is_err(), "{wrong}");
    }
}
