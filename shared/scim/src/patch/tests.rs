use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::resource::check_resource;

/// Returns a user after operations.
#[expect(
    clippy::needless_pass_by_value,
    reason = "what is written by `json!` is given away"
)]
fn patch(user: Value, operations: Value) -> Result<Value, ScimError> {
    let body = json!({ "schemas": [PATCH_SCHEMA], "Operations": operations });
    let Value::Object(mut user) = user else {
        panic!("an object");
    };
    for operation in read_patch(ScimType::User, &body.to_string())? {
        apply_operation(&mut user, &operation)?;
    }
    check_resource(ScimType::User, &user)?;
    Ok(Value::Object(user))
}

fn amira() -> Value {
    json!({
        "userName": "amira",
        "name": { "givenName": "Amira", "familyName": "Braun" },
        "emails": [
            { "type": "work", "value": "amira@example.com", "primary": true },
            { "type": "home", "value": "ami@home.example" },
        ],
    })
}

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

#[test]
fn small_request_does_not_make_much() {
    let emails: Vec<_> = (0..100)
        .map(|number| json!({ "value": format!("{number}@example.com") }))
        .collect();
    let grow = |text: String| {
        patch(
            amira(),
            json!([
                { "op": "replace", "path": "emails", "value": emails },
                { "op": "replace", "path": "emails.value", "value": text },
                { "op": "replace", "path": "emails", "value": [{ "value": "a@example.com" }] },
            ]),
        )
    };
    let refused = grow("a".repeat(20 << 10)).unwrap_err();
    assert!(refused.to_string().contains("at most 16 KiB"), "{refused}");
    let refused = grow("a".repeat(10 << 10)).unwrap_err();
    assert!(refused.to_string().contains("larger than"), "{refused}");
    grow("a".repeat(100)).unwrap();
}

#[test]
fn adding_merges() {
    let added = patch(
        amira(),
        json!([
            { "op": "add", "path": "emails", "value": [{ "type": "home", "value": "ami@home.example" }, { "type": "other", "value": "o@x.y", "primary": true }] },
            { "op": "add", "path": "name", "value": { "familyName": "Berg" } },
            { "op": "add", "path": "name.honorificPrefix", "value": "Dr" },
            { "op": "add", "path": "title", "value": "Mate" },
            { "op": "add", "path": format!("{ENTERPRISE}:department"), "value": "Deck" },
            { "op": "add", "path": "phoneNumbers[type eq \"work\"].value", "value": "+49 1" },
        ]),
    );
    let wanted = json!({
        "userName": "amira", "title": "Mate",
        "name": { "givenName": "Amira", "familyName": "Berg", "honorificPrefix": "Dr" },
        "emails": [
            { "type": "work", "value": "amira@example.com", "primary": false },
            { "type": "home", "value": "ami@home.example" },
            { "type": "other", "value": "o@x.y", "primary": true },
        ],
        "phoneNumbers": [{ "type": "work", "value": "+49 1" }],
        ENTERPRISE: { "department": "Deck" },
    });
    assert_eq!(added, Ok(wanted));
}

#[test]
fn removing_takes_what_is_named() {
    for (operation, path, left) in [
        (json!({ "path": "emails" }), "/emails", Value::Null),
        (
            json!({ "path": "emails[type eq \"work\"]" }),
            "/emails",
            json!([{ "type": "home", "value": "ami@home.example" }]),
        ),
        (
            json!({ "path": "emails[value ew \"home.example\"].type" }),
            "/emails/1",
            json!({ "value": "ami@home.example" }),
        ),
        (
            json!({ "path": "emails[type eq \"fax\"]" }),
            "/emails/1/type",
            json!("home"),
        ),
        (
            json!({ "path": "emails", "value": [{ "value": "amira@example.com" }] }),
            "/emails/0/type",
            json!("home"),
        ),
        (
            json!({ "path": "name.givenName" }),
            "/name",
            json!({ "familyName": "Braun" }),
        ),
        (json!({ "path": "name" }), "/name", Value::Null),
        (json!({ "path": ENTERPRISE }), "/userName", json!("amira")),
    ] {
        let mut operation = operation;
        operation["op"] = json!("remove");
        let patched = patch(amira(), json!([operation])).expect("a user");
        assert_eq!(
            patched.pointer(path).cloned().unwrap_or_default(),
            left,
            "{operation}"
        );
    }
}

#[test]
fn replacing_sets() {
    let replaced = patch(
        amira(),
        json!([
            { "op": "replace", "path": "emails[type eq \"home\"].value", "value": "new@home.example" },
            { "op": "replace", "path": "emails[type eq \"work\"]", "value": { "type": "work", "value": "w@example.com" } },
            { "op": "replace", "path": "name", "value": { "givenName": "Ami" } },
            { "op": "replace", "path": "title", "value": null },
        ]),
    );
    let wanted = json!({
        "userName": "amira", "name": { "givenName": "Ami", "familyName": "Braun" },
        "emails": [{ "type": "work", "value": "w@example.com" }, { "type": "home", "value": "new@home.example" }],
    });
    assert_eq!(replaced, Ok(wanted));
    let all = patch(
        amira(),
        json!([{ "op": "replace", "path": "emails", "value": [{ "value": "x@y.z" }] }]),
    );
    assert_eq!(
        all.expect("a user")["emails"],
        json!([{ "value": "x@y.z" }])
    );
}

#[test]
fn requests_of_okta_and_entra_are_read_as_they_are_meant() {
    for operations in [
        // Okta.
        json!([{ "op": "replace", "value": { "active": false } }]),
        // Entra ID, older and newer.
        json!([{ "op": "Replace", "path": "active", "value": "False" }]),
        json!([{ "op": "Add", "value": { "active": "False", "schemas": [], "id": "7", "color": "red" } }]),
        json!([{ "OP": "REPLACE", "Path": "ACTIVE", "Value": false }]),
    ] {
        let patched = patch(amira(), operations.clone()).expect("a user");
        assert_eq!(patched["active"], json!(false), "{operations}");
    }
    let patched = patch(
        amira(),
        json!([{ "op": "Replace", "value": {
            "name.familyName": "Berg",
            "emails[type eq \"work\"].value": "w@example.com",
            format!("{ENTERPRISE}:department"): "Deck",
            ENTERPRISE: { "costCenter": "7", "manager": "B2" },
        } }]),
    );
    let patched = patched.expect("a user");
    assert_eq!(patched["name"]["familyName"], "Berg");
    assert_eq!(patched["emails"][0]["value"], "w@example.com");
    let wanted = json!({ "department": "Deck", "costCenter": "7", "manager": { "value": "B2" } });
    assert_eq!(patched[ENTERPRISE], wanted);
}

#[test]
fn what_can_not_be_done_is_named_as_the_standard_does() {
    use ScimErrorKind::{
        InvalidFilter, InvalidPath, InvalidSyntax, InvalidValue, Mutability, NoTarget, TooMany,
    };
    for (operations, kind) in [
        (json!([{ "op": "remove" }]), NoTarget),
        (
            json!([{ "op": "replace", "path": "emails[type eq \"fax\"].value", "value": "x" }]),
            NoTarget,
        ),
        (json!([{ "op": "move", "path": "title" }]), InvalidSyntax),
        (json!([7]), InvalidSyntax),
        (json!({}), InvalidSyntax),
        (
            json!([{ "op": "add", "path": 7, "value": 1 }]),
            InvalidSyntax,
        ),
        (json!([{ "op": "add", "path": "title" }]), InvalidValue),
        (json!([{ "op": "add", "value": "x" }]), InvalidValue),
        (
            json!([{ "op": "add", "path": "active", "value": "perhaps" }]),
            InvalidValue,
        ),
        (
            json!([{ "op": "replace", "path": "userName", "value": "" }]),
            InvalidValue,
        ),
        (
            json!([{ "op": "add", "path": "title", "value": "x".repeat(70_000) }]),
            InvalidValue,
        ),
        (
            json!([{ "op": "add", "path": "color", "value": "red" }]),
            InvalidPath,
        ),
        (
            json!([{ "op": "add", "path": "emails[type eq \"work\"].color", "value": "red" }]),
            InvalidPath,
        ),
        (
            json!([{ "op": "add", "path": "title[value eq \"x\"]", "value": "red" }]),
            InvalidPath,
        ),
        (
            json!([{ "op": "add", "path": "emails[type eq]", "value": "red" }]),
            InvalidFilter,
        ),
        (
            json!([{ "op": "replace", "path": "id", "value": "7" }]),
            Mutability,
        ),
        (
            json!([{ "op": "add", "path": "groups", "value": [{ "value": "7" }] }]),
            Mutability,
        ),
        (
            json!([{ "op": "replace", "path": "meta.version", "value": "7" }]),
            Mutability,
        ),
        (json!([{ "op": "remove", "path": "userName" }]), Mutability),
        (
            json!(vec![json!({ "op": "remove", "path": "title" }); 1001]),
            TooMany,
        ),
    ] {
        let error = patch(amira(), operations.clone()).expect_err("a refusal");
        assert_eq!(error.kind, kind, "{operations}: {error}");
    }
}

proptest! {
    /// Whatever a client sends: the user is one that would be taken as a whole, or the request is refused.
    #[test]
    fn patched_user_is_one_that_would_be_taken(
        verb in prop::sample::select(vec!["add", "remove", "Replace"]),
        path in prop::sample::select(vec![
            "", "name", "name.givenName", "emails", "emails.value", "emails[type eq \"work\"]", "emails[type eq \"work\"].primary",
            "active", "userName", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User", "photos[not (value pr)]",
        ]),
        value in prop::sample::select(vec![
            json!(null), json!(true), json!("x"), json!([]), json!({}), json!([{ "value": "x", "primary": true }]),
            json!({ "value": "x" }), json!({ "emails": [{ "value": "y" }], "active": "True" }), json!([[[1]]]),
        ]),
    ) {
        let operation = json!([{ "op": verb, "path": path, "value": value }]);
        if let Ok(mut patched) = patch(amira(), operation) {
            patched["schemas"] = json!(["urn:ietf:params:scim:schemas:core:2.0:User"]);
            let object = patched.as_object().expect("an object");
            let mut read = crate::resource::read_resource(ScimType::User, object).expect("a resource");
            read.insert("schemas".to_owned(), patched["schemas"].clone());
            prop_assert_eq!(Value::Object(read), patched);
        }
    }

    #[test]
    fn any_path_is_read_or_refused(path in "[a-z.\\[\\]\" ]{0,40}|.{0,60}") {
        let _ = patch(amira(), json!([{ "op": "add", "path": path, "value": "x" }]));
    }
}
