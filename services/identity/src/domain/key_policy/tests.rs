use bowline_proto::identity::v1::{
    ApprovalRule, LoginRules, PreAuthKeyRules, RotationRules, TagRotation, UserRules,
};
use prost_types::Duration;

use super::*;

fn for_keys(rules: PreAuthKeyRules) -> KeyPolicy {
    KeyPolicy {
        pre_auth_keys: Some(rules),
        ..KeyPolicy::default()
    }
}

fn refusal(policy: KeyPolicy) -> String {
    normalize_policy(policy).unwrap_err().to_string()
}

#[test]
fn rules_that_say_nothing_are_left_out() {
    let empty = KeyPolicy {
        pre_auth_keys: Some(PreAuthKeyRules::default()),
        logins: Some(LoginRules::default()),
        users: Some(UserRules::default()),
        approval_rules: Vec::new(),
        rotation: Some(RotationRules::default()),
        approval_webhook: None,
    };
    assert_eq!(normalize_policy(empty).unwrap(), KeyPolicy::default());
}

#[test]
fn networks_have_one_form() {
    let policy = KeyPolicy {
        logins: Some(LoginRules {
            source_networks: ["192.0.2.9", "10.9.9.9/8", "10.0.0.0/8"]
                .map(str::to_owned)
                .to_vec(),
            ..LoginRules::default()
        }),
        ..KeyPolicy::default()
    };
    let policy = normalize_policy(policy).unwrap();
    let networks = policy.logins.unwrap().source_networks;
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.9/32"]);
}

#[test]
fn what_is_no_rule_is_refused_with_its_place() {
    let networks = |networks: Vec<String>| {
        refusal(for_keys(PreAuthKeyRules {
            source_networks: networks,
            ..PreAuthKeyRules::default()
        }))
    };
    let text = networks(vec!["office".to_owned()]);
    assert!(
        text.starts_with("key_policy.pre_auth_keys.source_networks: \"office\" is no network"),
        "{text}"
    );
    let text = networks(vec!["10.0.0.0/8".to_owned(); 101]);
    assert!(
        text.contains("are more than 100 networks: give a wider one"),
        "{text}"
    );
    for seconds in [0, 59, LONGEST_LIFETIME + 1, -60] {
        let text = refusal(for_keys(PreAuthKeyRules {
            max_lifetime: Some(Duration { seconds, nanos: 0 }),
            ..PreAuthKeyRules::default()
        }));
        assert!(text.contains("between a minute and 100 years"), "{text}");
    }
}

#[test]
fn policy_that_is_too_long_is_refused() {
    let rule = |number: u32| ApprovalRule {
        name: format!("rule{number}"),
        machine_keys: (0..500)
            .map(|key| format!("mkey:{:064x}", number * 500 + key))
            .collect(),
        ..ApprovalRule::default()
    };
    let policy = |rules: u32| KeyPolicy {
        approval_rules: (0..rules).map(rule).collect(),
        ..KeyPolicy::default()
    };
    assert!(normalize_policy(policy(1)).is_ok());
    let text = refusal(policy(2));
    assert!(text.contains("longer than 64 KiB"), "{text}");
}

#[test]
fn outside_system_answers_within_30_seconds() {
    for (seconds, is_good) in [
        (Some(1), true),
        (Some(30), true),
        (Some(31), false),
        (Some(0), false),
        (None, false),
    ] {
        let policy = KeyPolicy {
            approval_webhook: Some(ApprovalWebhook {
                webhook_id: 7,
                deadline: seconds.map(|seconds| Duration { seconds, nanos: 0 }),
            }),
            ..KeyPolicy::default()
        };
        assert_eq!(normalize_policy(policy).is_ok(), is_good, "{seconds:?}");
    }
}

#[test]
fn tag_whose_keys_begin_to_end_gives_a_warning() {
    let rotating = |tags: &[&str]| KeyPolicy {
        rotation: Some(RotationRules {
            interval: None,
            tags: tags
                .iter()
                .map(|tag| TagRotation {
                    tag: (*tag).to_owned(),
                    interval: Some(Duration {
                        seconds: 60,
                        nanos: 0,
                    }),
                })
                .collect(),
        }),
        ..KeyPolicy::default()
    };
    let (one, two) = (rotating(&["tag:a"]), rotating(&["tag:a", "tag:b"]));
    assert_eq!(find_warnings(Some(&two), Some(&one)), [""; 0]);
    assert_eq!(find_warnings(Some(&one), None), [""; 0]);
    let [warning] = &find_warnings(Some(&one), Some(&two))[..] else {
        panic!("one warning")
    };
    assert!(warning.contains("with tag:b end"), "{warning}");
    assert!(warning.contains("pre-auth key at hand"), "{warning}");
}
