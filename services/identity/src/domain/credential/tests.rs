use super::*;

#[test]
fn api_keys_live_for_1_to_90_days() {
    assert_eq!(api_key_lifetime(0).expect("a time"), TimeDelta::days(90));
    assert_eq!(api_key_lifetime(1).expect("a time"), TimeDelta::days(1));
    assert_eq!(api_key_lifetime(90).expect("a time"), TimeDelta::days(90));
    assert!(api_key_lifetime(91).is_err());
}

#[test]
fn clients_that_make_devices_have_tags() {
    let check = |scopes: &[&str], tags: &[&str]| {
        let scopes: Vec<_> = scopes.iter().map(ToString::to_string).collect();
        let tags: Vec<_> = tags.iter().map(ToString::to_string).collect();
        check_client(&read_scopes(&scopes).expect("scopes"), &tags).is_ok()
    };
    assert!(check(&["devices:core:read"], &[]));
    assert!(!check(&["devices:core"], &[]));
    assert!(!check(&["auth_keys", "dns"], &[]));
    assert!(check(&["auth_keys"], &["tag:ci"]));
    assert!(check(&["all"], &[]));
    assert!(!check(&[], &[]), "no scope");
    for wrong in ["ci", "tag:", "tag:a b", "tag:a:b"] {
        assert!(!check(&["dns"], &[wrong]), "{wrong}");
    }
    assert!(read_scopes(&["dsn".to_owned()]).is_err());
}
