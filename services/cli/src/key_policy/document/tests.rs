use super::*;

#[test]
fn what_is_shown_can_be_set_again() {
    let text = r#"{
        "pre_auth_keys": {"only_tagged": true, "max_lifetime": "36h", "max_uses_per_hour": 20,
            "source_networks": ["10.0.0.0/8"]},
        "users": {"max_nodes": 5},
        "approval_rules": [{"name": "laptops", "groups": ["eng"], "min_client_version": "1.80"}],
        "rotation": {"interval": "30d", "tags": {"tag:web": "90d"}},
        "approval_webhook": {"webhook": 7, "deadline": "5s"}
    }"#;
    let policy = KeyPolicyDocument::parse(text).unwrap();
    let shown = KeyPolicyDocument::from_policy(policy.clone());
    assert_eq!(shown.pre_auth_keys.max_lifetime.as_deref(), Some("36h"));
    let shown = serde_json::to_string(&shown).unwrap();
    assert_eq!(KeyPolicyDocument::parse(&shown).unwrap(), policy);
    let everything = serde_json::to_string(&KeyPolicyDocument::default()).unwrap();
    assert_eq!(
        KeyPolicyDocument::parse("{}").unwrap(),
        KeyPolicyDocument::parse(&everything).unwrap()
    );
}

#[test]
fn mistakes_are_named() {
    for (text, says) in [
        (
            r#"{"pre_auth_keys": {"only_taged": true}}"#,
            "unknown field `only_taged`",
        ),
        (
            r#"{"pre_auth_keys": {"max_lifetime": "soon"}}"#,
            "max_lifetime: \"soon\" is no duration",
        ),
        (
            r#"{"rotation": {"tags": {"tag:web": "90"}}}"#,
            "rotation of tag:web: \"90\" is no duration",
        ),
        (r#"{"users": {"max_nodes": -1}}"#, "invalid value"),
        ("", "EOF"),
    ] {
        let problem = KeyPolicyDocument::parse(text).unwrap_err();
        assert!(problem.contains(says), "{problem}");
    }
}
