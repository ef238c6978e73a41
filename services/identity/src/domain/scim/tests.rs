use super::*;

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is no object"),
    }
}

fn connection() -> Connection {
    Connection {
        id: 7,
        domains: vec!["example.com".to_owned()],
        ..Connection::default()
    }
}

const ISSUER: &str = "https://login.example.com/realms/home";

#[test]
fn names_without_a_domain_have_the_providers_host() {
    assert_eq!(
        login_name_of("amira", ISSUER).unwrap(),
        "amira@login.example.com"
    );
    assert_eq!(
        login_name_of("amira@b.c", "no address").unwrap(),
        "amira@b.c"
    );
    assert!(login_name_of("amira", "urn:provider").is_err());
}

#[test]
fn people_are_called_by_the_best_name_there_is() {
    for (attributes, name) in [
        (
            json!({ "displayName": "Amira B.", "name": { "formatted": "No" } }),
            "Amira B.",
        ),
        (
            json!({ "name": { "formatted": "Amira Braun" } }),
            "Amira Braun",
        ),
        (
            json!({ "name": { "givenName": "Amira", "familyName": "Braun" } }),
            "Amira Braun",
        ),
        (json!({ "name": { "familyName": "\"Braun\"\n" } }), "Braun"),
        (json!({}), ""),
    ] {
        assert_eq!(display_name(&object(attributes)), name);
    }
}

#[test]
fn owner_stays_active_and_names_with_a_role_stay() {
    let before = object(json!({ "userName": "amira@example.com" }));
    let inactive = object(json!({ "userName": "amira@example.com", "active": false }));
    let renamed = object(json!({ "userName": "eve@example.com" }));
    let with_role = |role: Role, role_connection_id| User {
        login_name: "amira@example.com".to_owned(),
        role: role.into(),
        role_connection_id,
        ..User::default()
    };
    for (mut user, after, may) in [
        (with_role(Role::Owner, 0), &inactive, false),
        (with_role(Role::Admin, 0), &inactive, true),
        (with_role(Role::Admin, 0), &renamed, false),
        (with_role(Role::Admin, 7), &renamed, true),
        (with_role(Role::Member, 0), &renamed, true),
    ] {
        let applied = apply_attributes(&mut user, &before, after, &connection(), ISSUER);
        assert_eq!(applied.is_ok(), may, "{user:?} {after:?}");
    }
}

#[test]
fn versions_match_as_entity_tags_do() {
    for (if_match, matches) in [
        ("", true),
        ("*", true),
        ("W/\"3\"", true),
        ("\"3\"", true),
        ("W/\"1\", W/\"3\"", true),
        ("W/\"2\"", false),
        ("nonsense", false),
    ] {
        assert_eq!(check_version(if_match, 3).is_ok(), matches, "{if_match}");
    }
}
