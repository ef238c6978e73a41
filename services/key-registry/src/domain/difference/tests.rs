use super::*;

#[test]
fn only_what_differs_is_told() {
    let before = Node {
        name: "web".to_owned(),
        hostname: "web".to_owned(),
        ..Node::default()
    };
    let after = Node {
        tags: vec!["tag:web".to_owned()],
        ..before.clone()
    };
    let (was, is) = changed_fields(&before, &after);
    assert_eq!(
        (was, is),
        (json!({ "tags": [] }), json!({ "tags": ["tag:web"] }))
    );
}
