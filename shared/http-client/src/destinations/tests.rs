use super::*;

#[test]
fn private_and_special_addresses_are_not_public_in_any_form() {
    for text in [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "172.31.0.1",
        "192.168.1.1",
        "100.100.100.100",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "::",
        "::1",
        "::ffff:10.0.0.1",
        "::10.0.0.1",
        "64:ff9b::a00:1",
        "fe80::1",
        "fd00::1",
        "2002:a00:1::",
        "2001:0:a00:1::",
        "ff02::1",
    ] {
        assert!(!is_public(text.parse().unwrap()), "{text}");
    }
    for text in [
        "8.8.8.8",
        "172.32.0.1",
        "100.128.0.1",
        "2606:4700::1",
        "::ffff:8.8.8.8",
    ] {
        assert!(is_public(text.parse().unwrap()), "{text}");
    }
    assert_eq!(NOT_PUBLIC_NETWORKS.len(), NOT_PUBLIC.len());
}

#[test]
fn allowed_networks_are_allowed_and_no_others() {
    let also = vec!["10.0.0.0/8".parse().unwrap()];
    let destinations = Destinations::Public { also };
    assert!(destinations.allow("10.1.2.3".parse().unwrap()));
    assert!(destinations.allow("::ffff:10.1.2.3".parse().unwrap()));
    assert!(!destinations.allow("127.0.0.1".parse().unwrap()));
    assert!(Destinations::Anywhere.allow("127.0.0.1".parse().unwrap()));
}

#[tokio::test]
async fn name_of_a_private_address_is_refused_and_says_which() {
    let mut resolver = GuardedResolver::new(Destinations::Public { also: Vec::new() });
    let refused = resolver
        .call("localhost".parse().unwrap())
        .await
        .unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains("localhost") && text.contains("not public"),
        "{text}"
    );

    let also = vec!["127.0.0.0/8".parse().unwrap()];
    let mut resolver = GuardedResolver::new(Destinations::Public { also });
    let found = resolver.call("localhost".parse().unwrap()).await.unwrap();
    assert!(
        found
            .map(|found| found.ip())
            .all(|address| address.to_string() == "127.0.0.1")
    );
}
