use serde_json::json;

use super::*;

fn find(claims: &Value, path: &str) -> Vec<String> {
    find_claim(claims.as_object().unwrap(), path).unwrap_or_default()
}

#[test]
fn groups_are_found_as_text_list_and_nested() {
    assert_eq!(find(&json!({ "groups": "dev" }), "groups"), ["dev"]);
    assert_eq!(find(&json!({ "groups": ["a", "b"] }), "groups"), ["a", "b"]);
    let nested = json!({ "resource_access": { "vpn": { "roles": ["x"] } } });
    assert_eq!(find(&nested, "resource_access.vpn.roles"), ["x"]);
    let named = json!({ "groups": [{ "id": 1, "name": "a" }, { "id": 2 }] });
    assert_eq!(find(&named, "groups"), ["a"]);
}

#[test]
fn name_with_dots_is_one_name_first() {
    let claims =
        json!({ "https://example.com/groups": ["a"], "https://example": { "com/groups": ["b"] } });
    assert_eq!(find(&claims, "https://example.com/groups"), ["a"]);
}

#[test]
fn what_is_no_text_gives_nothing_and_much_is_bounded() {
    for odd in [
        json!({}),
        json!({ "groups": 1 }),
        json!({ "groups": [1, null, [["a"]]] }),
        json!({ "groups": { "a": 1 } }),
    ] {
        assert!(find(&odd, "groups").is_empty());
    }
    let said = |claims: Value| find_claim(claims.as_object().unwrap(), "groups").is_some();
    assert!(said(json!({ "groups": [] })), "nobody's group is an answer");
    for nothing in [json!({}), json!({ "groups": null }), json!({ "groups": 1 })] {
        assert!(!said(nothing));
    }
    let many: Vec<_> = (0..10_000).map(|number| number.to_string()).collect();
    assert_eq!(
        find(&json!({ "groups": many }), "groups").len(),
        MOST_VALUES
    );
}

#[test]
fn claim_that_is_kept_elsewhere_is_not_known() {
    let claims = json!({ "_claim_names": { "groups": "src1" } });
    let claims = claims.as_object().unwrap();
    assert!(is_kept_elsewhere(claims, "groups") && is_kept_elsewhere(claims, "groups.names"));
    assert!(!is_kept_elsewhere(claims, "roles"));
    assert!(!is_kept_elsewhere(&Map::new(), "groups"));
}
