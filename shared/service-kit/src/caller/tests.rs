use super::*;

#[test]
fn a_uri_names_its_caller() {
    for caller in [
        Caller::Service(ServiceName::KeyRegistry),
        Caller::Admin {
            name: "amira@example.com".into(),
        },
    ] {
        assert_eq!(Caller::from_uri(&caller.uri()), Some(caller));
    }
}

#[test]
fn other_uris_name_nobody() {
    for uri in [
        "spiffe://bowline/",
        "spiffe://bowline/admin/",
        "spiffe://bowline/admin/a b",
        "spiffe://bowline/admin/a/b",
        "spiffe://bowline/relay/x",
        "spiffe://other/relay",
        "https://bowline/relay",
    ] {
        assert_eq!(Caller::from_uri(uri), None, "{uri}");
    }
}
