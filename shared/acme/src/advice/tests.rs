use super::*;

fn problem(name: &str, detail: &str) -> Problem {
    Problem {
        r#type: Some(format!("urn:ietf:params:acme:error:{name}")),
        detail: Some(detail.to_owned()),
        status: None,
        subproblems: Vec::new(),
    }
}

#[test]
fn failed_proof_says_what_failed_at_which_host_and_what_to_mend() {
    let describe = |kind, name| {
        describe_failed_proof(
            kind,
            "vpn.example.com",
            &problem(name, "dial tcp: refused."),
        )
    };
    let text = describe(ChallengeKind::TlsAlpn, "connection");
    assert!(
        text.starts_with(
            "the authority can not prove vpn.example.com by TLS-ALPN-01: dial tcp: refused. It asks at port 443"
        ),
        "{text}"
    );
    let text = describe(ChallengeKind::Http, "connection");
    assert!(text.contains("at port 80"), "{text}");
    for (name, word) in [
        ("dns", "A or AAAA record"),
        ("caa", "CAA record"),
        ("unauthorized", "asks at port 443"),
    ] {
        let text = describe(ChallengeKind::TlsAlpn, name);
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn refusal_says_what_the_authority_says() {
    assert_eq!(
        describe_refusal(&problem("serverInternal", "Down for repair.")),
        "the authority refuses: Down for repair."
    );
    let text = describe_refusal(&problem("externalAccountRequired", "no account"));
    assert!(
        text.contains("name another in acme.directory_url"),
        "{text}"
    );
}
