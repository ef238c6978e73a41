//! Joining by auth URL where the page and the device meet different gateways.

use super::{ECHO, SOON, http::http_at, reaches, split};

#[test]
fn login_begun_on_one_gateway_is_shown_by_the_other_and_lets_the_device_in() {
    let name = "login::login_begun_on_one_gateway_is_shown_by_the_other_and_lets_the_device_in";
    let Some((split, mut clients)) = split(name, 3) else {
        return;
    };
    let key = split.key().unwrap();
    clients[0].join(&split.url(1), &key, "c1").unwrap();
    clients[1].join(&split.url(2), &key, "c2").unwrap();
    clients[1].serve_echo(ECHO, 7000).unwrap();

    let (address, _waiting) = clients[2].begin_login(&split.url(1), "c3").unwrap();
    let path = address.strip_prefix(&split.url(1)).unwrap();
    let page = || {
        let (status, body) = http_at("10.77.0.1:8082", "GET", path, b"");
        (status, String::from_utf8(body).unwrap())
    };
    let (status, shown) = page();
    assert!(
        status == 200 && shown.contains("wants to join") && shown.contains("c3"),
        "{status} {shown}"
    );
    let pending = split.bowline(&["logins", "list"]).unwrap();
    assert_eq!(
        (&pending[0]["hostname"], &pending[0]["state"]),
        (&"c3".into(), &"pending".into()),
        "looking at the page approves nothing"
    );
    split
        .bowline(&["logins", "approve", &address, "--user", "owner@home"])
        .unwrap();
    clients[2].wait_for_state("Running", SOON);
    clients[2].wait_for_peers(&["c1", "c2"], SOON);
    clients[0].wait_for_peers(&["c2", "c3"], SOON);
    clients[1].wait_for_peers(&["c1", "c3"], SOON);
    reaches(&clients[2], &clients[1].ipv4().unwrap(), 7000);
    let (status, shown) = page();
    assert!(
        status == 200 && shown.contains("The device is in"),
        "{shown}"
    );
}
