//! crypto_box messages that prove nothing, or have been seen.

use bowline_clock::random_bytes;
use bowline_control_nacl::{open_box, seal_box};
use bowline_interop::inside;
use bowline_keys::{MachinePublic, PrivateKey};
use serde_json::{Value, json};

use super::witness::{TestServer, node_key};
use crate::http::http;

/// Returns the server's key for boxes.
fn control() -> MachinePublic {
    let (_, text) = http("GET", "/key", b"");
    MachinePublic::from_hex(&String::from_utf8(text).unwrap()).unwrap()
}

fn public(machine: &PrivateKey) -> MachinePublic {
    MachinePublic::from_bytes(machine.public_bytes())
}

fn path(machine: MachinePublic) -> String {
    format!("/machine/{}", machine.to_hex())
}

/// A registration that is refused by the registry: nothing here may become a node.
fn request() -> Value {
    json!({
        "Version": 1, "NodeKey": node_key(), "Auth": { "AuthKey": "nonsense" },
        "Hostinfo": { "IPNVersion": "1.62.0", "Hostname": "box" },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn boxes_that_do_not_open_are_refused() {
    let name = "bad_input::boxes::boxes_that_do_not_open_are_refused";
    if inside(name, 0).is_none() {
        return;
    }
    let mut test_server = TestServer::start("plain_http_boxes = true").await;
    let control = control();
    let machine = PrivateKey::from_random(random_bytes());
    let own = path(public(&machine));
    let sealed = seal_box(
        request().to_string().as_bytes(),
        &machine,
        control,
        random_bytes(),
    );
    let refused = |path: &str, body: &[u8], says: &str| {
        let (status, text) = http("POST", path, body);
        let text = String::from_utf8_lossy(&text);
        assert!(
            status == 400 && text.contains(says),
            "{path} with {} bytes: {status} {text}",
            body.len()
        );
    };
    for index in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[index] ^= 1;
        refused(&own, &changed, "can not be opened");
    }
    for length in 0..sealed.len() {
        let says = if length < 40 {
            "too short"
        } else {
            "can not be opened"
        };
        refused(&own, &sealed[..length], says);
    }
    refused(&own, &[&sealed[..], &[0]].concat(), "can not be opened");
    // The box of one machine at another's address, and at the server's own.
    let other = PrivateKey::from_random(random_bytes());
    refused(&path(public(&other)), &sealed, "can not be opened");
    refused(&path(control), &sealed, "can not be opened");
    // Sealed for another server, or by nobody in particular.
    let elsewhere = seal_box(b"{}", &machine, public(&other), random_bytes());
    refused(&own, &elsewhere, "can not be opened");
    for weak in ["00".repeat(32), format!("01{}", "00".repeat(31))] {
        refused(&format!("/machine/{weak}"), &sealed, "low order");
    }
    for hex in [
        "zz",
        &"zz".repeat(32),
        &"ab".repeat(31),
        &"ab".repeat(33),
        "%00",
        "mkey:ab",
    ] {
        refused(&format!("/machine/{hex}"), &sealed, "64 hexadecimal digits");
    }
    let (status, _) = http("POST", &own, &vec![0; (256 << 10) + 1]);
    assert_eq!(status, 413);
    let (status, text) = http("GET", &own, b"");
    assert_eq!((status, text.is_empty()), (405, false));
    let (status, text) = http("POST", &format!("{own}/set-dns"), &sealed);
    assert_eq!((status, text.is_empty()), (501, false));
    test_server.assert_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opened_boxes_are_refused_for_what_they_hold_and_once_only() {
    let name = "bad_input::boxes::opened_boxes_are_refused_for_what_they_hold_and_once_only";
    if inside(name, 0).is_none() {
        return;
    }
    let mut test_server = TestServer::start("plain_http_boxes = true").await;
    let control = control();
    let machine = PrivateKey::from_random(random_bytes());
    let own = path(public(&machine));
    let post = |path: &str, plain: &[u8]| {
        let (status, body) = http(
            "POST",
            path,
            &seal_box(plain, &machine, control, random_bytes()),
        );
        (status, String::from_utf8_lossy(&body).into_owned())
    };
    let zstd_magic = [0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0];
    let deep = "[".repeat(60_000);
    let dense = format!("[{}0]", "{},".repeat(80_000));
    for map in ["", "/map"] {
        let path = format!("{own}{map}");
        for (plain, says) in [
            (&b""[..], "not JSON"),
            (b"\xff\xfe", "not JSON"),
            (b"nonsense", "not JSON"),
            (b"{", "not JSON"),
            (b"{}{}", "not JSON"),
            (b"7", "wrong"),
            (&zstd_magic, "not JSON"),
            (deep.as_bytes(), "not JSON"),
            (dense.as_bytes(), "values"),
        ] {
            let (status, text) = post(&path, plain);
            assert!(
                status == 400 && text.contains(says),
                "{map} {status} {text}"
            );
        }
    }
    assert_eq!(post(&own, b"{}").0, 400, "a registration of no key");
    assert_eq!(
        post(&format!("{own}/map"), b"{}").0,
        404,
        "a poll of no node"
    );

    // A nonce of zeros is a nonce; a refusal comes sealed. Afterwards the box is known, wherever it is sent.
    let sealed = seal_box(request().to_string().as_bytes(), &machine, control, [0; 24]);
    let (status, answer) = http("POST", &own, &sealed);
    assert_eq!(status, 200);
    let plain = open_box(&answer, control, [&machine]).unwrap().plaintext;
    let answer: Value = serde_json::from_slice(&plain).unwrap();
    assert!(!answer["Error"].as_str().unwrap().is_empty(), "{answer}");
    for map in ["", "/map"] {
        let (status, text) = http("POST", &format!("{own}{map}"), &sealed);
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(status == 400 && text.contains("sent before"), "{text}");
    }
    test_server.assert_undisturbed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn boxes_need_tls_unless_told_otherwise() {
    let name = "bad_input::boxes::boxes_need_tls_unless_told_otherwise";
    if inside(name, 0).is_none() {
        return;
    }
    let mut test_server = TestServer::start("").await;
    let machine = PrivateKey::from_random(random_bytes());
    let sealed = seal_box(b"{}", &machine, control(), random_bytes());
    let (status, text) = http("POST", &path(public(&machine)), &sealed);
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(status == 403 && text.contains("https"), "{status} {text}");
    test_server.assert_undisturbed().await;
}
