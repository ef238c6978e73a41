use serde_json::json;

use super::*;

fn project(only: &str, without: &str) -> Value {
    let user = json!({
        "schemas": ["x"], "id": "7", "userName": "amira", "title": "Mate",
        "name": { "givenName": "Amira", "familyName": "Braun" },
        "emails": [{ "value": "a", "type": "work" }, { "value": "b" }],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "department": "Deck", "division": "A" },
    });
    let projection = Projection::parse(ScimType::User, only, without).expect("a projection");
    Value::Object(projection.apply(user.as_object().expect("an object").clone()))
}

#[test]
fn attributes_are_chosen_and_left_out() {
    let of_extension = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let department = format!("{of_extension}:department");
    for (only, wanted) in [
        ("title", json!({ "title": "Mate" })),
        ("color", json!({})),
        (
            "NAME.givenName,name.familyName",
            json!({ "name": { "givenName": "Amira", "familyName": "Braun" } }),
        ),
        ("emails.type", json!({ "emails": [{ "type": "work" }, {}] })),
        (
            &*department,
            json!({ of_extension: { "department": "Deck" } }),
        ),
        (
            of_extension,
            json!({ of_extension: { "department": "Deck", "division": "A" } }),
        ),
    ] {
        let mut wanted = wanted;
        wanted["schemas"] = json!(["x"]);
        wanted["id"] = json!("7");
        assert_eq!(project(only, ""), wanted, "{only}");
    }
    let left = project(
        "",
        &format!("id,schemas,title,name.givenName,emails,{of_extension}"),
    );
    let wanted = json!({ "schemas": ["x"], "id": "7", "userName": "amira", "name": { "familyName": "Braun" } });
    assert_eq!(left, wanted);
}

#[test]
fn answers_without_a_list_do_not_read_it() {
    let parse =
        |only, without| Projection::parse(ScimType::Group, only, without).expect("a projection");
    assert!(parse("", "").has("members") && parse("members.value", "").has("members"));
    assert!(!parse("displayName", "").has("members") && !parse("", "Members").has("members"));
    assert!(
        parse("", "members.type").has("members"),
        "a part is left out only"
    );
    assert!(Projection::parse(ScimType::Group, "a", "b").is_err());
    assert!(Projection::parse(ScimType::Group, &"a,".repeat(201), "").is_err());
}
