use super::*;

#[test]
fn only_what_differs_is_told() {
    let before =
        json!({ "same": 1, "role": "member", "split": { "a.test": ["10.0.0.1"], "b.test": [] } });
    let after =
        json!({ "same": 1, "role": "admin", "split": { "b.test": [], "c.test": ["10.0.0.2"] } });
    assert_eq!(
        describe_change(&before, &after),
        json!({
            "before": { "role": "member", "split": { "a.test": ["10.0.0.1"] } },
            "after": { "role": "admin", "split": { "c.test": ["10.0.0.2"] } },
        })
    );
}
