use std::sync::Arc;

use bowline_proto::identity::v1::User;

use super::*;

fn told(view: &View, tags: &[&str], login_name: &str) -> (u64, String, String) {
    let node = Node {
        user_id: 7,
        tags: tags.iter().map(ToString::to_string).collect(),
        ..Node::default()
    };
    let registered = Registered {
        login_name: login_name.to_owned(),
        ..Registered::default()
    };
    let told = account_of(view, &node, &registered);
    (told.id, told.login_name, told.display_name)
}

#[test]
fn node_of_a_user_keeps_its_login_while_identity_is_away() {
    let mut view = View::default();
    let user = User {
        id: 7,
        login_name: "amira@example.com".to_owned(),
        display_name: "Amira".to_owned(),
        ..User::default()
    };
    view.users
        .insert(UserId::try_from(7_u64).expect("a number"), Arc::new(user));
    let known = (7, "amira@example.com".to_owned(), "Amira".to_owned());
    assert_eq!(told(&view, &[], ""), known);
    let answered = (
        7,
        "new@example.com".to_owned(),
        "new@example.com".to_owned(),
    );
    assert_eq!(told(&view, &[], "new@example.com"), answered);
    let (id, login, _) = told(&view, &["tag:web"], "");
    assert_eq!(
        (id, &*login),
        (UserId::TAGGED_DEVICES.get(), "tagged-devices")
    );
}

#[test]
fn registered_node_without_its_ids_is_no_answer() {
    let node = Node {
        id: 5,
        tailnet_id: 1,
        ..Node::default()
    };
    let registered = |node| Registered {
        node,
        ..Registered::default()
    };
    let complete = registered(Some(node.clone()));
    let read = RegisteredNode::new(&complete).expect("a node");
    assert_eq!((read.id.get(), read.tailnet.get()), (5, 1));
    let without_tailnet = Node {
        tailnet_id: 0,
        ..node.clone()
    };
    let without_id = Node { id: 0, ..node };
    for node in [None, Some(without_tailnet), Some(without_id)] {
        let refused = RegisteredNode::new(&registered(node)).map(|read| read.id);
        assert_eq!(refused.expect_err("no node").status(), 502);
    }
}
