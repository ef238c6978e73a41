use super::*;

fn rule() -> ApprovalRule {
    ApprovalRule {
        name: "laptops".to_owned(),
        operating_systems: vec!["macOS".to_owned()],
        ..ApprovalRule::default()
    }
}

#[test]
fn rules_that_can_be_are_taken() {
    let mut rules = [
        rule(),
        ApprovalRule {
            name: "known".to_owned(),
            machine_keys: vec![format!("mkey:{}", "0a".repeat(32))],
            min_client_version: "1.80".to_owned(),
            source_networks: vec!["10.1.2.3/8".to_owned()],
            ..ApprovalRule::default()
        },
    ];
    normalize_rules(&mut rules).unwrap();
    assert_eq!(rules[1].source_networks, ["10.0.0.0/8"]);
}

#[test]
fn rules_that_can_not_be_are_refused_by_name() {
    let list = |text: &str| vec![text.to_owned()];
    let named = |name: &str| ApprovalRule {
        name: name.to_owned(),
        ..ApprovalRule::default()
    };
    for (wrong, says) in [
        (vec![rule(), rule()], "no two the same"),
        (
            vec![ApprovalRule {
                name: String::new(),
                ..rule()
            }],
            "have a name each",
        ),
        (vec![named("all")], "the rule all lets every machine in"),
        (
            vec![ApprovalRule {
                tags: list("web"),
                ..rule()
            }],
            "the rule laptops names the tag web",
        ),
        (
            vec![ApprovalRule {
                groups: list("group:eng"),
                ..rule()
            }],
            "leave out",
        ),
        (
            vec![ApprovalRule {
                users: list(""),
                ..rule()
            }],
            "empty value among its users: leave it out",
        ),
        (
            vec![ApprovalRule {
                machine_keys: list("mkey:12"),
                ..rule()
            }],
            "64 hexadecimal digits",
        ),
        (
            vec![ApprovalRule {
                min_client_version: "new".to_owned(),
                ..rule()
            }],
            "such as 1.80.2",
        ),
        (
            vec![ApprovalRule {
                source_networks: list("home"),
                ..rule()
            }],
            "no network such as",
        ),
        (
            vec![ApprovalRule {
                users: vec!["a".to_owned(); 101],
                ..rule()
            }],
            "more than 100 users: name groups or networks",
        ),
        (
            (0..51)
                .map(|number| ApprovalRule {
                    name: number.to_string(),
                    ..rule()
                })
                .collect(),
            "more than 50: one rule may name several",
        ),
    ] {
        let mut wrong: Vec<_> = wrong;
        let refused = normalize_rules(&mut wrong).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
}
