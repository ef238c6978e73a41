use super::*;

#[tokio::test]
async fn defect_of_the_server_names_the_request_whose_log_lines_have_more() {
    let id = RequestId::random();
    let failure = id.scope(async { Failure::from(Status::internal("internal error")) });
    let failure = failure.await;
    assert_eq!(failure.exit_code(), 1);
    let text = failure.to_string();
    assert!(text.contains(&format!("request_id {id}")), "{text}");
    let refused = id.scope(async { Failure::from(Status::not_found("no node \"a\"")) });
    assert_eq!(refused.await.to_string(), "no node \"a\"");
}

#[test]
fn field_that_the_server_left_out_is_named() {
    assert_eq!(require_field(Some(7), "node").expect("it is there"), 7);
    let failure = require_field(None::<u64>, "node").expect_err("it is missing");
    assert_eq!(failure.exit_code(), 1);
    assert!(failure.to_string().contains("no node"), "{failure}");
}
