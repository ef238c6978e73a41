use serde_json::json;

use super::*;
use crate::schema::ScimType;

fn key(name: &str, user: &Value) -> SortKey {
    let path = FieldPath::parse(ScimType::User, name).expect(name);
    SortKey::of(&path, user.as_object().expect("an object"))
}

#[test]
fn keys_are_in_the_order_of_their_values() {
    let first = json!({ "userName": "amira", "id": "B", "active": false, "meta": { "created": "2026-01-01T01:00:00+02:00" } });
    let second = json!({ "userName": "Kim", "id": "a", "active": true, "meta": { "created": "2026-01-01T00:00:00Z" } });
    for name in ["userName", "id", "active", "meta.created"] {
        assert!(key(name, &first) < key(name, &second), "{name}");
    }
    assert!(
        key("title", &first) > key("userName", &second),
        "who has none comes last"
    );
    let emails = json!({ "emails": [{ "value": "z" }, { "value": "B", "primary": true }] });
    assert_eq!(key("emails", &emails), SortKey::Text("b".to_owned()));
    let long = json!({ "title": "ü".repeat(500) });
    assert_eq!(key("title", &long), SortKey::Text("ü".repeat(100)));
}
