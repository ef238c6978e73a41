use serde_json::json;

use super::*;
use crate::error::ScimErrorKind;

#[test]
fn names_are_read_in_any_case_and_with_their_schema() {
    for (text, name) in [
        ("USERNAME", "userName"),
        ("name.FamilyName", "name.familyName"),
        (
            "urn:ietf:params:scim:schemas:core:2.0:User:userName",
            "userName",
        ),
        ("meta.lastmodified", "meta.lastModified"),
        (
            "URN:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value",
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager.value",
        ),
    ] {
        let path = FieldPath::parse(ScimType::User, text).expect(text);
        assert_eq!(path.name(), name);
    }
    let long = "n".repeat(200_000);
    for text in [
        "",
        "color",
        "name.color",
        "userName.x",
        "members",
        "urn:x:userName",
        "ü",
        &long,
    ] {
        let error = FieldPath::parse(ScimType::User, text).expect_err(text);
        assert_eq!(error.kind, ScimErrorKind::InvalidPath);
        assert!(error.detail.len() < 300, "{}", error.detail.len());
    }
}

#[test]
fn values_are_those_of_all_elements() {
    let user =
        json!({ "emails": [{ "value": "a" }, { "value": "b", "type": "work" }], "title": "Mate" });
    let user = user.as_object().expect("an object");
    let count = |text| {
        let path = FieldPath::parse(ScimType::User, text).expect(text);
        path.find_values(user).len()
    };
    assert_eq!(
        [
            "emails",
            "emails.type",
            "title",
            "nickName",
            "name.givenName"
        ]
        .map(count),
        [2, 1, 1, 0, 0]
    );
}
