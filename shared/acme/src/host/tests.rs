use super::*;

#[test]
fn names_are_taken_and_what_these_challenges_can_not_prove_is_not() {
    assert_eq!(
        normalize_host("VPN.Example.com."),
        Ok("vpn.example.com".to_owned())
    );
    assert_eq!(normalize_host("localhost"), Ok("localhost".to_owned()));
    for (host, why) in [
        ("192.0.2.1", UnfitHost::Address),
        ("[2001:db8::1]", UnfitHost::Address),
        ("*.example.com", UnfitHost::Wildcard),
        ("{tailnet}.example.com", UnfitHost::Wildcard),
        ("../etc", UnfitHost::NoName),
        ("a_b.example.com", UnfitHost::NoName),
        ("", UnfitHost::NoName),
        ("vpn..example.com", UnfitHost::NoName),
        ("-vpn.example.com", UnfitHost::NoName),
    ] {
        assert_eq!(normalize_host(host), Err(why), "{host}");
    }
}
