use serde_json::json;

use super::*;

#[test]
fn interface_of_several_answers_has_the_names_of_all() {
    let mut shape = Shape::default();
    shape
        .add(&json!([{ "name": "a", "end": null }, { "name": "b", "end": "soon", "tags": ["c"] }]));
    let expected = [
        "  answer: list",
        "  []: object",
        "  [].end: null or text",
        "  [].name: text",
        "  [].tags: list",
        "  [].tags[]: text",
    ];
    assert_eq!(
        shape.to_string(),
        expected.map(|line| format!("{line}\n")).concat()
    );
}
