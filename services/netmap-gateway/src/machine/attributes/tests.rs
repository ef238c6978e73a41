use serde_json::json;

use super::*;

fn read(update: &Value) -> Result<NodeAttributesUpdate, RequestFailure> {
    let body = json!({ "Update": update }).to_string();
    read_update(parse_request(body.as_bytes()).unwrap())
}

#[test]
fn values_are_passed_on_with_their_types_and_null_removes() {
    let update = json!({ "custom:a": "x", "custom:b": 7, "custom:c": false, "custom:d": null });
    let update = read(&update).unwrap();
    assert_eq!(update.remove, ["custom:d"]);
    let set = update.set.into_iter();
    let set: Vec<_> = set
        .map(|one| (one.name, one.value.unwrap().kind.unwrap()))
        .collect();
    let expected = [
        ("custom:a", Kind::Text("x".to_owned())),
        ("custom:b", Kind::Number(7.0)),
        ("custom:c", Kind::Flag(false)),
    ];
    assert_eq!(set, expected.map(|(name, kind)| (name.to_owned(), kind)));
}

#[test]
fn what_is_no_value_is_refused_by_name() {
    for wrong in [json!([1]), json!({ "value": 1 })] {
        let refused = read(&json!({ "custom:a": wrong })).unwrap_err();
        assert_eq!(refused.status(), 400);
    }
}
