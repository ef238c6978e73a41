use bowline_proto::identity::v1::{GroupSource, Membership};

use super::*;

fn user(id: u64, groups: &[u64]) -> User {
    let membership = |group_id: &u64| Membership {
        group_id: *group_id,
        source: GroupSource::Manual.into(),
        connection_id: 0,
    };
    User {
        id,
        login_name: format!("u{id}@example.com"),
        // As of the entry: they do not count.
        groups: vec!["stale".to_owned()],
        memberships: groups.iter().map(membership).collect(),
        has_memberships: true,
        ..User::default()
    }
}

fn group(id: u64, name: &str) -> Group {
    Group {
        id,
        name: name.to_owned(),
        ..Group::default()
    }
}

fn groups_of(user: &PolicyUser) -> Vec<&str> {
    user.groups.iter().map(String::as_str).collect()
}

#[test]
fn members_follow_the_name_of_their_group_in_any_order() {
    let mut people = People::default();
    let amira = people.put_user(user(1, &[10, 11]));
    assert!(amira.groups.is_empty(), "the groups are not known yet");
    let changed = people.put_group(group(10, "dev"));
    assert_eq!(groups_of(&changed[0]), ["group:dev"]);
    let changed = people.put_group(group(11, "ops@example.com"));
    assert_eq!(
        groups_of(&changed[0]),
        ["group:dev", "group:ops@example.com"]
    );
    people.put_user(user(2, &[11]));
    let renamed = people.put_group(group(11, "on-call"));
    assert_eq!(renamed.len(), 2);
    assert_eq!(groups_of(&renamed[1]), ["group:on-call"]);
    let left = people.put_user(user(1, &[10]));
    assert_eq!(groups_of(&left), ["group:dev"]);
    assert_eq!(people.put_group(group(11, "calls")).len(), 1);
    let gone = people.remove_group(11);
    assert!(gone[0].groups.is_empty());
    people.remove_user(1);
    assert!(people.put_group(group(10, "devs")).is_empty());
}

#[test]
fn names_count_where_identity_knows_no_groups_as_objects() {
    let mut people = People::default();
    people.put_group(group(10, "dev"));
    let older = User {
        groups: vec!["ops".to_owned()],
        has_memberships: false,
        ..user(1, &[])
    };
    assert_eq!(groups_of(&people.put_user(older)), ["group:ops"]);
    assert_eq!(groups_of(&people.put_user(user(1, &[10]))), ["group:dev"]);
}
