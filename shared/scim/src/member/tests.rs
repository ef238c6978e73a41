use serde_json::json;

use super::*;
use crate::{
    patch::{PATCH_SCHEMA, read_patch},
    schema::ScimType,
};

#[expect(
    clippy::needless_pass_by_value,
    reason = "what is written by `json!` is given away"
)]
fn read(operation: Value) -> Result<Vec<Option<MemberChange>>, ScimError> {
    let body = json!({ "schemas": [PATCH_SCHEMA], "Operations": [operation] });
    let operations = read_patch(ScimType::Group, &body.to_string())?;
    operations.iter().map(read_member_change).collect()
}

#[test]
fn members_are_named_in_every_form_that_clients_send() {
    let ids = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (operation, change) in [
        (
            json!({ "op": "add", "path": "members", "value": [{ "value": "1" }, { "Value": "2", "$ref": "x", "type": "User" }] }),
            MemberChange::Add(ids(&["1", "2"])),
        ),
        (
            json!({ "op": "add", "path": "members", "value": { "value": "1" } }),
            MemberChange::Add(ids(&["1"])),
        ),
        (
            json!({ "op": "add", "value": { "members": ["1"] } }),
            MemberChange::Add(ids(&["1"])),
        ),
        (
            json!({ "op": "remove", "path": "members[value eq \"1\"]" }),
            MemberChange::Remove(ids(&["1"])),
        ),
        (
            json!({ "op": "remove", "path": "members[value eq \"1\" or value eq \"2\"]" }),
            MemberChange::Remove(ids(&["1", "2"])),
        ),
        (
            json!({ "op": "Remove", "path": "members", "value": [{ "value": "1" }] }),
            MemberChange::Remove(ids(&["1"])),
        ),
        (
            json!({ "op": "remove", "path": "members" }),
            MemberChange::Replace(Vec::new()),
        ),
        (
            json!({ "op": "replace", "path": "members", "value": [] }),
            MemberChange::Replace(Vec::new()),
        ),
        (
            json!({ "op": "replace", "path": "members", "value": null }),
            MemberChange::Replace(Vec::new()),
        ),
    ] {
        assert_eq!(
            read(operation.clone()),
            Ok(vec![Some(change)]),
            "{operation}"
        );
    }
    let other =
        read(json!({ "op": "replace", "value": { "displayName": "crew", "color": "red" } }));
    assert_eq!(other, Ok(vec![None]));
}

#[test]
fn members_are_not_changed_themselves() {
    for (operation, kind) in [
        (
            json!({ "op": "replace", "path": "members[value eq \"1\"].value", "value": "2" }),
            ScimErrorKind::Mutability,
        ),
        (
            json!({ "op": "replace", "path": "members[value eq \"1\"]", "value": { "value": "2" } }),
            ScimErrorKind::Mutability,
        ),
        (
            json!({ "op": "remove", "path": "members[type eq \"User\"]" }),
            ScimErrorKind::InvalidPath,
        ),
        (
            json!({ "op": "remove", "path": "members[not (value eq \"1\")]" }),
            ScimErrorKind::InvalidPath,
        ),
        (
            json!({ "op": "add", "path": "members", "value": [{ "value": "1", "type": "Group" }] }),
            ScimErrorKind::InvalidValue,
        ),
        (
            json!({ "op": "add", "path": "members", "value": [{ "display": "kim" }] }),
            ScimErrorKind::InvalidValue,
        ),
        (
            json!({ "op": "add", "path": "members", "value": [{ "value": "" }] }),
            ScimErrorKind::InvalidValue,
        ),
    ] {
        let error = read(operation.clone()).expect_err("a refusal");
        assert_eq!(error.kind, kind, "{operation}");
    }
}
