use super::*;

fn agreed() -> AcmeConfig {
    AcmeConfig {
        agree_to_terms: true,
        ..AcmeConfig::default()
    }
}

fn only_problem(config: &AcmeConfig, own_host: &str) -> String {
    let problems = config.plan(own_host).unwrap_err().0;
    let [problem] = &problems[..] else {
        panic!("not one problem: {problems:?}");
    };
    problem.to_string()
}

#[test]
fn nothing_is_ordered_unless_the_terms_are_agreed_to() {
    assert_eq!(AcmeConfig::default().plan("vpn.example.com"), Ok(None));
    let config = AcmeConfig {
        contact: Some("admin@example.com".to_owned()),
        ..AcmeConfig::default()
    };
    let problem = only_problem(&config, "vpn.example.com");
    assert!(
        problem.starts_with("acme.contact is set and acme.agree_to_terms is not"),
        "{problem}"
    );
    assert!(problem.contains(LETS_ENCRYPT), "{problem}");
}

#[test]
fn certificate_is_for_the_public_host_unless_others_are_named() {
    let plan = agreed().plan("VPN.example.com").unwrap().unwrap();
    assert_eq!(plan.hosts(), ["vpn.example.com"]);
    assert_eq!(plan.challenge_kind(), ChallengeKind::TlsAlpn);
    let config = AcmeConfig {
        hosts: ["b.example.com", "a.example.com", "B.example.com."]
            .map(str::to_owned)
            .to_vec(),
        http_listen: "0.0.0.0:80".parse().ok(),
        ..agreed()
    };
    let plan = config.plan("a.example.com").unwrap().unwrap();
    assert_eq!(plan.hosts(), ["b.example.com", "a.example.com"]);
    assert_eq!(plan.challenge_kind(), ChallengeKind::Http);
    for own in ["c.example.com", "192.0.2.1"] {
        let problem = only_problem(&config, own);
        assert!(
            problem.contains(&format!("does not name {own}")),
            "{problem}"
        );
    }
}

#[test]
fn what_can_not_be_ordered_is_told_in_words() {
    let problem = only_problem(&agreed(), "192.0.2.1");
    assert!(problem.contains("the address 192.0.2.1"), "{problem}");
    let config = AcmeConfig {
        hosts: vec!["*.control.example.com".to_owned()],
        ..agreed()
    };
    let problem = only_problem(&config, "vpn.example.com");
    assert!(problem.contains("prove single names only"), "{problem}");
    let config = AcmeConfig {
        directory_url: "http://authority.example.com".to_owned(),
        contact: Some("mailto:admin@example.com".to_owned()),
        hosts: vec!["a b".to_owned(); 101],
        ..agreed()
    };
    let problems = config.plan("vpn.example.com").unwrap_err().0;
    assert_eq!(problems.len(), 3 + 101, "{problems:?}");
}
