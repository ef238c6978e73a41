use bowline_proto::identity::v1::RoleGroup;

use super::*;

#[test]
fn names_are_one_line_without_the_word_of_policies() {
    for name in ["ops", "On Call", "ops@example.com", "größe", "/corp/ops"] {
        assert!(check_group_name(name).is_ok(), "{name}");
    }
    let long = "x".repeat(201);
    for name in ["", " ops", "ops ", "a\nb", "a\"b", "group:ops", &long] {
        assert!(check_group_name(name).is_err(), "{name}");
    }
}

#[test]
fn names_of_providers_are_cleaned_and_bounded() {
    let claimed = [" ops\n", "a\"b\\c", "", "\u{7}", &"x".repeat(201), "ops"];
    let claimed = claimed.map(str::to_owned);
    let clean: Vec<_> = clean_names(&claimed).into_iter().collect();
    assert_eq!(clean, ["abc", "ops"]);
    let many: Vec<_> = (0..5000).map(|number| number.to_string()).collect();
    assert_eq!(clean_names(&many).len(), MOST_OF_USER);
}

#[test]
fn groups_give_roles_where_the_connection_says_so_and_take_back_their_own_only() {
    let group = |group: &str, role: Role| RoleGroup {
        group: group.to_owned(),
        role: role.into(),
    };
    let connection = Connection {
        id: 7,
        role_groups: vec![group("it", Role::ItAdmin), group("audit", Role::Auditor)],
        ..Connection::default()
    };
    let user = |role: Role, role_connection_id| User {
        role: role.into(),
        role_connection_id,
        ..User::default()
    };
    let given = |connection: &Connection, user: &User, claimed: &[&str]| {
        let claimed: Vec<_> = claimed.iter().map(ToString::to_string).collect();
        role_by_groups(connection, user, &claimed)
    };
    let member = user(Role::Member, 0);
    let both = ["audit", "it"];
    assert_eq!(given(&connection, &member, &both), Some((Role::ItAdmin, 7)));
    assert_eq!(
        given(&connection, &member, &["audit"]),
        Some((Role::Auditor, 7))
    );
    assert_eq!(given(&connection, &member, &["dev"]), None);
    let by_group = user(Role::ItAdmin, 7);
    assert_eq!(given(&connection, &by_group, &["it"]), None);
    assert_eq!(given(&connection, &by_group, &[]), Some((Role::Member, 0)));
    for kept in [
        user(Role::Owner, 0),
        user(Role::Admin, 0),
        user(Role::ItAdmin, 8),
    ] {
        assert_eq!(given(&connection, &kept, &["audit"]), None);
        assert_eq!(given(&connection, &kept, &[]), None);
    }
    let unmapped = Connection::default();
    assert_eq!(given(&unmapped, &member, &["it", "owner"]), None);
}
