use super::*;

fn list(text: &str) -> Vec<String> {
    vec![text.to_owned()]
}

/// Tries rules against a device of amira's.
fn fits_amira(rule: &ApprovalRule) -> bool {
    let user = User {
        login_name: "amira@example.com".to_owned(),
        groups: list("eng"),
        ..User::default()
    };
    let tags = list("tag:web");
    let facts = ApprovalFacts {
        tags: &tags,
        user: Some(&user),
        os: "linux",
        client_version: "1.102.5-t1a2b3c4d5",
        source: "10.1.2.3",
        machine_key: &[10; 32],
    };
    find_rule(std::slice::from_ref(rule), facts).is_some()
}

#[test]
fn each_field_that_is_given_has_to_fit() {
    let no = ApprovalRule::default();
    let machine = format!("mkey:{}", "0a".repeat(32));
    for fitting in [
        ApprovalRule {
            tags: vec!["tag:web".to_owned(), "tag:db".to_owned()],
            ..no.clone()
        },
        ApprovalRule {
            users: list("amira@example.com"),
            ..no.clone()
        },
        ApprovalRule {
            groups: list("eng"),
            ..no.clone()
        },
        ApprovalRule {
            operating_systems: list("Linux"),
            ..no.clone()
        },
        ApprovalRule {
            min_client_version: "1.80".to_owned(),
            ..no.clone()
        },
        ApprovalRule {
            min_client_version: "1.102.5".to_owned(),
            ..no.clone()
        },
        ApprovalRule {
            source_networks: list("10.0.0.0/8"),
            ..no.clone()
        },
        ApprovalRule {
            machine_keys: list(&machine),
            ..no.clone()
        },
    ] {
        assert!(fits_amira(&fitting), "{fitting:?}");
        let both = ApprovalRule {
            operating_systems: list("windows"),
            ..fitting
        };
        assert!(!fits_amira(&both), "{both:?}");
    }
}

#[test]
fn rule_that_asks_for_something_else_does_not_fit() {
    let no = ApprovalRule::default();
    let machine = format!("mkey:{}", "0a".repeat(32));
    for other in [
        ApprovalRule {
            tags: list("tag:db"),
            ..no.clone()
        },
        ApprovalRule {
            users: list("bo@example.com"),
            ..no.clone()
        },
        ApprovalRule {
            groups: list("ops"),
            ..no.clone()
        },
        ApprovalRule {
            min_client_version: "1.102.6".to_owned(),
            ..no.clone()
        },
        ApprovalRule {
            min_client_version: "2".to_owned(),
            ..no.clone()
        },
        ApprovalRule {
            source_networks: list("192.0.2.0/24"),
            ..no.clone()
        },
        ApprovalRule {
            machine_keys: list(&machine.replace("0a", "0b")),
            ..no.clone()
        },
    ] {
        assert!(!fits_amira(&other), "{other:?}");
    }
}

#[test]
fn what_is_not_known_fits_nothing() {
    let facts = ApprovalFacts {
        tags: &[],
        user: None,
        os: "",
        client_version: "dev",
        source: "",
        machine_key: &[10; 32],
    };
    let no = ApprovalRule::default();
    for rule in [
        ApprovalRule {
            tags: list("tag:web"),
            ..no.clone()
        },
        ApprovalRule {
            users: list("amira@example.com"),
            ..no.clone()
        },
        ApprovalRule {
            groups: list("eng"),
            ..no.clone()
        },
        ApprovalRule {
            min_client_version: "1.80".to_owned(),
            ..no.clone()
        },
        ApprovalRule {
            source_networks: list("0.0.0.0/0"),
            ..no.clone()
        },
    ] {
        assert!(
            find_rule(std::slice::from_ref(&rule), facts).is_none(),
            "{rule:?}"
        );
    }
}
