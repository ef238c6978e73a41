//! What arrives on the clients' port and should not: a clear answer, nothing changed, nobody disturbed.

mod bodies;
mod boxes;
mod fields;
mod floods;
mod foreign;
mod front;
mod records;
mod session;
mod upgrade;
mod waits;
mod witness;

use bowline_interop::{Host, Server, inside};
use serde_json::{Value, json};

use crate::http::http;

#[test]
fn outside_relays_learn_whom_they_may_serve() {
    let name = "bad_input::outside_relays_learn_whom_they_may_serve";
    if inside(name, 0).is_none() {
        return;
    }
    let _server = Server::start(Host::here(), "verify_token = \"a-secret-of-16-bytes\"").unwrap();
    let question =
        json!({ "NodePublic": format!("nodekey:{}", "5a".repeat(32)), "Source": "10.0.0.1" });
    let question = question.to_string().into_bytes();
    let (status, answer) = http("POST", "/verify/a-secret-of-16-bytes", &question);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(
        (status, &answer["Allow"]),
        (200, &json!(false)),
        "an unknown node"
    );
    assert_eq!(http("POST", "/verify/other", &question).0, 404);
    assert_eq!(http("POST", "/verify/a-secret-of-16-bytes", b"{}").0, 400);
}
