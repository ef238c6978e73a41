use serde_json::json;

use super::*;

#[expect(
    clippy::needless_pass_by_value,
    reason = "what is written by `json!` is given away"
)]
fn parse(operations: Value) -> Result<BulkRequest, ScimError> {
    BulkRequest::parse(
        &json!({ "schemas": [BULK_SCHEMA], "failOnErrors": 1, "Operations": operations })
            .to_string(),
    )
}

#[test]
fn references_are_found_and_filled_in() {
    let request = parse(json!([
        { "method": "post", "path": "/Groups", "bulkId": "g", "data": { "members": [{ "value": "bulkId:u" }] } },
        { "method": "PATCH", "path": "/Users/bulkId:u", "version": "W/\"1\"", "data": {} },
        { "method": "DELETE", "path": "/Users/9" },
    ]));
    let request = request.expect("a request");
    assert_eq!(request.fail_on_errors, Some(1));
    let made = BTreeMap::from([("u".to_owned(), "7".to_owned())]);
    let [group, user, gone] = &request.operations[..] else {
        panic!("three operations");
    };
    assert_eq!((group.references().len(), gone.references().len()), (1, 0));
    let group = group.clone().with_references(&made);
    assert_eq!(group.data, json!({ "members": [{ "value": "7" }] }));
    assert!(group.references().is_empty());
    assert_eq!(user.clone().with_references(&made).id, "7");
}

#[test]
fn wrong_requests_are_refused() {
    for operations in [
        json!(7),
        json!([7]),
        json!([{ "method": "GET", "path": "/Users/1" }]),
        json!([{ "method": "POST", "path": "/Users" }]),
        json!([{ "method": "POST", "path": "/Users/1", "data": {} }]),
        json!([{ "method": "DELETE", "path": "/Users" }]),
        json!([{ "method": "DELETE", "path": "/Users/1/2" }]),
        json!([{ "method": "DELETE", "path": "/Color/1" }]),
        json!([{ "method": "POST", "path": "/Users", "bulkId": "a", "data": {} }, { "method": "POST", "path": "/Users", "bulkId": "a", "data": {} }]),
        json!(vec![
            json!({ "method": "DELETE", "path": "/Users/1" });
            MOST_BULK_OPERATIONS + 1
        ]),
    ] {
        assert!(parse(operations.clone()).is_err(), "{operations}");
    }
}
