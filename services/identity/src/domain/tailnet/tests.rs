use super::*;

#[test]
fn defaults_make_a_tailnet_that_works_and_no_two_share_ipv6() {
    let one = new(1, "home".to_owned(), None, DateTime::UNIX_EPOCH).unwrap();
    let two = new(2, "work".to_owned(), None, DateTime::UNIX_EPOCH).unwrap();
    assert_eq!(one.magic_dns_suffix, "home.bowline.internal");
    assert_eq!(one.ipv4_pool, IPV4);
    assert_eq!(one.ipv6_pool, "fd7a:115c:a1e0:0::/64");
    assert_ne!(one.ipv6_pool, two.ipv6_pool);
}

#[test]
fn names_and_pools_outside_the_rules_are_refused() {
    let make = |name: &str, ipv4_pool: &str| {
        let chosen = Tailnet {
            ipv4_pool: ipv4_pool.to_owned(),
            ..Tailnet::default()
        };
        new(1, name.to_owned(), Some(chosen), DateTime::UNIX_EPOCH)
    };
    for name in ["", "Home", "a b", "-a", "a-", &"a".repeat(64)] {
        assert!(make(name, IPV4).is_err(), "{name}");
    }
    for pool in ["10.0.0.0/8", "100.0.0.0/8", "100.64.0.0", "x"] {
        assert!(make("home", pool).is_err(), "{pool}");
    }
    assert!(make("home", "100.80.0.0/16").is_ok());
}

#[test]
fn keys_live_for_a_minute_to_a_hundred_years() {
    let lives = |seconds| {
        let mut tailnet = new(1, "home".to_owned(), None, DateTime::UNIX_EPOCH).unwrap();
        let wanted = Tailnet {
            key_lifetime: Some(Duration { seconds, nanos: 0 }),
            ..Tailnet::default()
        };
        update_fields(&mut tailnet, &wanted, &["key_lifetime".to_owned()])
    };
    for seconds in [60, LONGEST_KEY_LIFETIME] {
        assert!(lives(seconds).is_ok(), "{seconds}");
    }
    for seconds in [i64::MIN, -1, 0, 59, LONGEST_KEY_LIFETIME + 1, i64::MAX] {
        let refused = lives(seconds).unwrap_err().to_string();
        assert!(refused.contains("key_lifetime"), "{seconds}: {refused}");
    }
}

#[test]
fn unknown_field_of_an_update_is_named() {
    let mut tailnet = new(1, "home".to_owned(), None, DateTime::UNIX_EPOCH).unwrap();
    let error = update_fields(&mut tailnet, &Tailnet::default(), &["nme".to_owned()]).unwrap_err();
    assert!(error.to_string().contains("\"nme\""), "{error}");
}
