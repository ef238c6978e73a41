use super::*;

#[test]
fn names_are_cut_and_hold_no_control_characters() {
    let sent = Hostinfo {
        hostname: "a\0b\u{202e}\n".to_owned(),
        os: "ü".repeat(1000),
        ..Hostinfo::default()
    };
    let host = CheckedHostinfo::new(sent).unwrap();
    assert_eq!(host.info.hostname, "a b\u{202e} ");
    assert_eq!(host.info.os, "ü".repeat(128));
    assert!(!host.json.is_empty());
}

#[test]
fn endless_description_is_refused() {
    let sent = Hostinfo {
        routable_ips: vec!["10.0.0.0/8".to_owned(); 10_000],
        ..Hostinfo::default()
    };
    assert!(CheckedHostinfo::new(sent).is_err());
}
