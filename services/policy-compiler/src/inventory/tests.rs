use super::*;

#[test]
fn tags_of_nodes_are_compared_in_lower_case() {
    let registered = registry::Node {
        tags: vec!["tag:Web".to_owned()],
        ..registry::Node::default()
    };
    assert_eq!(convert_node(&registered).tags, ["tag:web"]);
}

#[test]
fn logins_are_compared_in_lower_case() {
    let known = identity::User {
        login_name: "Amira@Example.com".to_owned(),
        groups: vec!["OnCall".to_owned()],
        ..identity::User::default()
    };
    assert_eq!(
        convert_user(&known, &known.groups).login_name,
        "amira@example.com"
    );
    assert_eq!(convert_user(&known, &known.groups).groups, ["group:OnCall"]);
}
