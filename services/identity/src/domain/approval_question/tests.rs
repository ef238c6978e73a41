use serde_json::Value;

use super::*;

#[test]
fn question_says_what_is_known_of_the_machine() {
    let asked = AskApprovalRequest {
        node_id: 7,
        name: "web1".to_owned(),
        machine_key: vec![1; 32],
        tags: vec!["tag:web".to_owned()],
        os: "linux".to_owned(),
        source_address: "192.0.2.1".to_owned(),
        ..AskApprovalRequest::default()
    };
    let body = question_body(&asked, "home", "amira@example.com", DateTime::UNIX_EPOCH);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["type"], "nodeApproval");
    let data = &body["data"];
    assert_eq!(
        (&data["nodeID"], &data["user"]),
        (&json!("7"), &json!("amira@example.com"))
    );
    assert_eq!(data["machineKey"], format!("mkey:{}", "01".repeat(32)));
    assert_eq!(
        (&data["tags"][0], &data["source"]),
        (&json!("tag:web"), &json!("192.0.2.1"))
    );
}

#[test]
fn answer_is_a_decision_with_a_reason_or_none() {
    let read = |text: &str| read_answer(text.as_bytes());
    let answer = read(r#"{"decision": "approve", "reason": "in the\ninventory", "ticket": 4}"#);
    let expected = ApprovalAnswer {
        decision: ApprovalDecision::Approve,
        reason: "in theinventory".to_owned(),
    };
    assert_eq!(answer, Ok(expected));
    assert_eq!(
        read(r#"{"decision": "deny"}"#).unwrap().decision,
        ApprovalDecision::Deny
    );
    let long = format!(
        r#"{{"decision": "wait", "reason": "{}"}}"#,
        "a".repeat(1000)
    );
    assert_eq!(read(&long).unwrap().reason.len(), LONGEST_REASON);
    for (wrong, says) in [
        ("", "is not {\"decision\""),
        ("approve", "is not {\"decision\""),
        ("{}", "missing field"),
        (r#"{"decision": "Approve"}"#, "none of approve, deny, wait"),
        (r#"{"decision": true}"#, "invalid type"),
    ] {
        let problem = read(wrong).unwrap_err();
        assert!(problem.contains(says), "{problem}");
    }
}
