use super::rename_users;
use crate::{plan::name_users, rows::HeadscaleUser};

fn users() -> Vec<crate::MovingUser> {
    let user = |id, name: &str, email: &str, provider_identifier: &str| HeadscaleUser {
        id,
        name: name.to_owned(),
        email: email.to_owned(),
        provider_identifier: provider_identifier.to_owned(),
        ..HeadscaleUser::default()
    };
    name_users(&[
        user(1, "alice", "", ""),
        user(2, "carol", "carol@example.com", ""),
        user(
            3,
            "dora",
            "dora@example.com",
            "https://login.example.com/17",
        ),
        user(4, "twin", "one@example.com", "https://login.example.com/18"),
        user(5, "twin", "two@example.com", "https://login.example.com/19"),
    ])
}

fn rename(text: &str) -> String {
    rename_users(text, &users()).0
}

#[test]
fn users_are_named_by_their_login_names_wherever_they_stand() {
    let before = r#"{
        // carol@ stays in comments
        "groups": {"group:a": ["alice@", "carol@", "dora@"]},
        "acls": [{"action": "accept", "src": ["carol@"], "dst": ["carol@:22,80-90", "tag:web:*"]}],
    }"#;
    let after = r#"{
        // carol@ stays in comments
        "groups": {"group:a": ["alice@", "carol@example.com", "dora@example.com"]},
        "acls": [{"action": "accept", "src": ["carol@example.com"], "dst": ["carol@example.com:22,80-90", "tag:web:*"]}],
    }"#;
    let (renamed, changed) = rename_users(before, &users());
    assert_eq!(renamed, after);
    let lines: Vec<_> = changed.iter().map(|user| user.line).collect();
    assert_eq!(lines, [3, 3, 4, 4]);
}

#[test]
fn what_names_nobody_or_several_stays() {
    for same in [
        r#"{"ssh": [{"users": ["localpart:*@example.com"]}]}"#,
        r#"{"groups": {"group:a": ["nobody@", "twin@"]}}"#,
        r#"{"hosts": {"carol@": "100.64.0.1"}}"#,
        "{ not a document",
    ] {
        assert_eq!(rename(same), same);
    }
}
