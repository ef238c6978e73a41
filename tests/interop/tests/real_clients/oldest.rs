//! A client of the oldest form, as no release of it can be had: `/key` without a version, boxes only, whole messages
//! (protocol sections 2 and 3).

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use bowline_clock::random_bytes;
use bowline_control_nacl::{open_box, seal_box};
use bowline_control_wire::{Compression, MapResponse, RegisterResponse, decode_frame};
use bowline_interop::{Host, Server, inside};
use bowline_keys::{MachinePublic, PrivateKey};
use bytes::BytesMut;
use serde_json::{Value, json};

use crate::{
    MINUTE,
    http::{http, send},
};

/// A device with its keys.
struct Oldest {
    machine: PrivateKey,
    control: MachinePublic,
}

impl Oldest {
    fn path(&self, rest: &str) -> String {
        format!("/machine/{}{rest}", self.public().to_hex())
    }

    fn public(&self) -> MachinePublic {
        MachinePublic::from_bytes(self.machine.public_bytes())
    }

    fn sealed(&self, request: &Value) -> Vec<u8> {
        seal_box(
            request.to_string().as_bytes(),
            &self.machine,
            self.control,
            random_bytes(),
        )
    }

    /// Returns the head of a map request; as HTTP/1.0 the answer comes without chunks.
    fn map_head(&self, body: &[u8]) -> String {
        let (path, length) = (self.path("/map"), body.len());
        format!("POST {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n")
    }

    fn opened(&self, answer: &[u8]) -> Vec<u8> {
        open_box(answer, self.control, [&self.machine])
            .unwrap()
            .plaintext
    }
}

#[test]
fn client_of_the_oldest_form_registers_and_gets_whole_maps() {
    let name = "oldest::client_of_the_oldest_form_registers_and_gets_whole_maps";
    if inside(name, 0).is_none() {
        return;
    }
    let server = Server::start(Host::here(), "plain_http_boxes = true").unwrap();
    let (status, body) = http("GET", "/key", b"");
    let text = String::from_utf8(body).unwrap();
    assert_eq!(
        (status, text.len()),
        (200, 64),
        "exactly 64 digits, no newline: {text:?}"
    );
    let control = MachinePublic::from_hex(&text).unwrap();
    let client = Oldest {
        machine: PrivateKey::from_random(random_bytes()),
        control,
    };
    let node_key = format!("nodekey:{}", "5a".repeat(32));

    let auth_key = server.key().unwrap();
    let register = json!({
        "Version": 1, "NodeKey": node_key, "Auth": { "AuthKey": auth_key },
        "Hostinfo": { "IPNVersion": "1.0.0", "OS": "linux", "Hostname": "old" },
    });
    let request = client.sealed(&register);
    let (status, answer) = http("POST", &client.path(""), &request);
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    let response: RegisterResponse = serde_json::from_slice(&client.opened(&answer)).unwrap();
    assert!(response.machine_authorized && response.error.is_empty());

    // The very same box again is a replay; a wrong key is told as an error such a client notices.
    assert_eq!(http("POST", &client.path(""), &request).0, 400);
    let wrong = json!({
        "Version": 1, "NodeKey": format!("nodekey:{}", "5b".repeat(32)),
        "Auth": { "AuthKey": "nonsense" }, "Hostinfo": { "IPNVersion": "1.16.0" },
    });
    assert_eq!(
        http("POST", &client.path(""), &client.sealed(&wrong)).0,
        401
    );

    let map = json!({ "Version": 4, "NodeKey": node_key, "Compress": "zstd", "Stream": false });
    let body = client.sealed(&map);
    let head = client.map_head(&body);
    let mut stream = TcpStream::connect("10.77.0.1:8080").unwrap();
    let (status, answer) = send(&mut stream, &[head.as_bytes(), &body].concat());
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    let payload = client.opened(&answer[4..]);
    let framed = bowline_control_wire::encode_frame(&[&payload]).unwrap();
    let json = decode_frame(&mut BytesMut::from(&framed[..]), Compression::Zstd, 1 << 20).unwrap();
    let message: MapResponse = serde_json::from_slice(&json.unwrap()).unwrap();
    let node = message.node.unwrap();
    assert_eq!(
        (node.name.as_str(), node.addresses.len()),
        ("old.home.bowline.internal.", 1)
    );
    let rules = message.packet_filter.unwrap();
    assert!(
        message.packet_filters.is_empty() && !rules.is_empty(),
        "the filter of its age"
    );
    assert!(
        rules
            .iter()
            .all(|rule| rule.src_ips.len() == rule.src_bits.len())
    );

    whole_messages_come_two_seconds_apart(&client, &server, &node_key);

    // Another machine's box for this node is turned away.
    let thief = Oldest {
        machine: PrivateKey::from_random(random_bytes()),
        control,
    };
    assert_eq!(
        http("POST", &thief.path("/map"), &thief.sealed(&map)).0,
        404
    );
}

/// However many changes there are meanwhile, a message comes no sooner than two seconds after the one before.
fn whole_messages_come_two_seconds_apart(client: &Oldest, server: &Server, node_key: &str) {
    let map = json!({ "Version": 4, "NodeKey": node_key, "Compress": "zstd", "Stream": true });
    let body = client.sealed(&map);
    let mut stream = BufReader::new(TcpStream::connect("10.77.0.1:8080").unwrap());
    stream.get_ref().set_read_timeout(Some(MINUTE)).unwrap();
    let head = client.map_head(&body);
    let asked = Instant::now();
    stream.get_mut().write_all(head.as_bytes()).unwrap();
    stream.get_mut().write_all(&body).unwrap();
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).unwrap();
    }
    let mut next = || {
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut sealed = vec![0; usize::try_from(u32::from_le_bytes(length)).unwrap()];
        stream.read_exact(&mut sealed).unwrap();
        let framed = bowline_control_wire::encode_frame(&[&client.opened(&sealed)]).unwrap();
        let json =
            decode_frame(&mut BytesMut::from(&framed[..]), Compression::Zstd, 1 << 20).unwrap();
        serde_json::from_slice::<MapResponse>(&json.unwrap()).unwrap()
    };
    assert!(next().node.is_some());
    for name in ["older", "oldish", "oldest"] {
        let known = server.bowline(&["nodes", "list"]).unwrap()[0]["name"].clone();
        server
            .bowline(&["nodes", "rename", known.as_str().unwrap(), name])
            .unwrap();
    }
    for messages in 1.. {
        let message = next();
        // The first was sent after it was asked for.
        let least = Duration::from_secs(2 * messages);
        assert!(asked.elapsed() >= least, "{:?}", asked.elapsed());
        if message.node.unwrap().name == "oldest.home.bowline.internal." {
            return;
        }
    }
}
