use serde_json::json;

use super::*;

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

fn read(value: Value) -> Result<Value, ScimError> {
    let Value::Object(mut object) = value else {
        panic!("an object");
    };
    object.entry("schemas").or_insert_with(|| json!([USER]));
    read_resource(ScimType::User, &object).map(Value::Object)
}

#[test]
fn resource_is_kept_in_one_form() {
    let enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let kept = read(json!({
        "ID": "7", "meta": { "version": "x" }, "groups": [{ "value": "1" }], "password": "p", "color": "red",
        "USERNAME": "amira", "active": "False", "nickName": null, "title": 7,
        "emails": { "VALUE": "a@b.c", "primary": "true", "color": "red" },
        "phoneNumbers": [{ "value": "1", "primary": true }, { "value": "2", "primary": true }, {}],
        "photos": [],
        enterprise: { "Department": "Deck", "manager": "B2", "color": "red" },
    }));
    let wanted = json!({
        "userName": "amira", "active": false, "title": "7",
        "emails": [{ "value": "a@b.c", "primary": true }],
        "phoneNumbers": [{ "value": "1", "primary": false }, { "value": "2", "primary": true }],
        enterprise: { "department": "Deck", "manager": { "value": "B2" } },
    });
    assert_eq!(kept, Ok(wanted));
}

#[test]
fn what_can_not_be_is_refused() {
    for (value, kind) in [
        (json!({}), ScimErrorKind::InvalidValue),
        (json!({ "userName": "  " }), ScimErrorKind::InvalidValue),
        (
            json!({ "userName": ["amira"] }),
            ScimErrorKind::InvalidValue,
        ),
        (
            json!({ "userName": "a", "active": "perhaps" }),
            ScimErrorKind::InvalidValue,
        ),
        (
            json!({ "userName": "a", "name": "Amira" }),
            ScimErrorKind::InvalidValue,
        ),
        (
            json!({ "userName": "a", "emails": [7] }),
            ScimErrorKind::InvalidValue,
        ),
        (
            json!({ "userName": "a", "emails": vec![json!({ "value": "x" }); 101] }),
            ScimErrorKind::InvalidValue,
        ),
        (
            json!({ "userName": "a", "title": "x".repeat(LARGEST) }),
            ScimErrorKind::InvalidValue,
        ),
        (
            json!({ "userName": "a", "schemas": [] }),
            ScimErrorKind::InvalidSyntax,
        ),
        (
            json!({ "userName": "a", "schemas": "x" }),
            ScimErrorKind::InvalidSyntax,
        ),
    ] {
        let error = read(value).expect_err("a refusal");
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.detail.len() < 300, "{}", error.detail.len());
    }
    for body in [
        "",
        "[]",
        "7",
        "{\"a\":",
        &format!("{{\"a\":{}", "[".repeat(100_000)),
    ] {
        let error = read_object(body).expect_err("a refusal");
        assert_eq!(error.kind, ScimErrorKind::InvalidSyntax);
    }
}
