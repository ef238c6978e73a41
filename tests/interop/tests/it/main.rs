//! What a user of real clients sees.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails where something is not as expected"
)]

use std::time::{Duration, Instant};

mod bad_input;
mod http;
mod oldest;

use bowline_interop::{
    Client, Lab, Release, RustClient, Server, Split, inside, is_possible, wait_for,
};

const ECHO: &str = env!("CARGO_BIN_EXE_echo-server");
const SOON: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);

/// A lab with a server and joined clients of the current release, named c1, c2, ….
fn joined(clients: usize, environment: &[(&str, &str)]) -> (Lab, Server, Vec<Client>) {
    let lab = Lab::new().unwrap();
    let server = Server::start(lab.host().unwrap(), "").unwrap();
    let key = server.key().unwrap();
    let clients: Vec<_> = (1..=clients)
        .map(|number| {
            let client = Client::start(lab.host().unwrap(), Release::Current, environment).unwrap();
            client
                .join(&server.url, &key, &format!("c{number}"))
                .unwrap();
            client
        })
        .collect();
    (lab, server, clients)
}

fn reaches(from: &Client, address: &str, port: u16) {
    wait_for(&format!("{address}:{port} answers"), SOON, || {
        from.echo(address, port, "hello")
            .map_err(|error| error.to_string())
    });
}

#[test]
fn clients_join_by_key_and_by_login_talk_and_lose_each_other() {
    if !is_possible() {
        return;
    }
    let (lab, server, mut clients) = joined(2, &[]);
    let (one, two) = (clients[0].ipv4().unwrap(), clients[1].ipv4().unwrap());
    clients[0].wait_for_peers(&["c2"], SOON);
    let pong = clients[0]
        .run(&["ping", "--c=5", "--timeout=5s", &two])
        .unwrap();
    assert!(pong.contains("pong from c2"), "{pong}");
    clients[1].serve_echo(ECHO, 7000).unwrap();
    reaches(&clients[0], &two, 7000);

    let third = Client::start(lab.host().unwrap(), Release::Current, &[]).unwrap();
    let (address, _waiting) = third.begin_login(&server.url, "c3").unwrap();
    let pending = server.bowline(&["logins", "list"]).unwrap();
    assert_eq!(pending[0]["hostname"], "c3");
    server
        .bowline(&["logins", "approve", &address, "--user", "owner@home"])
        .unwrap();
    wait_for("the approved client runs", SOON, || {
        match third.state().as_str() {
            "Running" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    third.wait_for_peers(&["c1", "c2"], SOON);
    clients[0].wait_for_peers(&["c2", "c3"], SOON);

    // A policy edit closes a port and opens it again, live.
    let policy = |port: &str| {
        format!(r#"{{"acls": [{{"action": "accept", "src": ["*"], "dst": ["*:{port}"]}}]}}"#)
    };
    server.set_policy(&policy("22")).unwrap();
    wait_for("the port closes", SOON, || {
        match clients[0].echo(&two, 7000, "hello") {
            Ok(_) => Err("it still answers".to_owned()),
            Err(_) => Ok(()),
        }
    });
    server.set_policy(&policy("7000")).unwrap();
    reaches(&clients[0], &two, 7000);

    // Ends of keys: peers are told within a second, and the client itself.
    server.bowline(&["nodes", "expire", "c3"]).unwrap();
    let told = clients[0].wait_for_peers(&["c2"], SOON);
    assert!(
        told < SECOND,
        "peers were told of the expiry after {told:?}"
    );
    wait_for("the expired client wants a login", SOON, || {
        match third.state().as_str() {
            "NeedsLogin" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    clients[1].run(&["logout"]).unwrap();
    let told = clients[0].wait_for_peers(&[], SOON);
    assert!(
        told < SECOND,
        "peers were told of the logout after {told:?}"
    );

    // A client that logged out has forgotten its key: it comes back as a new node.
    let key = server.key().unwrap();
    clients[1].join(&server.url, &key, "c2").unwrap();
    clients[0].wait_for_peers(&["c2"], SOON);
    reaches(&clients[0], &clients[1].ipv4().unwrap(), 7000);
    let answer = server.bowline(&["nodes", "delete", "c2-1"]).unwrap();
    assert_eq!(answer["gateways"][0]["state"], "applied", "{answer}");
    let told = clients[0].wait_for_peers(&[], SOON);
    assert!(
        told < SECOND,
        "peers were told of the deletion after {told:?}"
    );
    assert_eq!(
        clients[0].ipv4().unwrap(),
        one,
        "the others keep what they have"
    );
}

#[test]
fn clients_join_over_tls_with_the_certificate_of_a_first_start() {
    if !is_possible() {
        return;
    }
    let lab = Lab::new().unwrap();
    let server = Server::start_tls(lab.host().unwrap()).unwrap();
    let authority = server.authority().display().to_string();
    let key = server.key().unwrap();
    let trusting = [("SSL_CERT_FILE", authority.as_str())];
    let one = Client::start(lab.host().unwrap(), Release::Current, &trusting).unwrap();
    one.join(&server.url, &key, "c1").unwrap();
    let mut two = Client::start(lab.host().unwrap(), Release::Current, &trusting).unwrap();
    two.join(&server.url, &key, "c2").unwrap();
    one.wait_for_peers(&["c2"], SOON);
    two.serve_echo(ECHO, 7000).unwrap();
    reaches(&one, &two.ipv4().unwrap(), 7000);
}

#[test]
fn client_of_the_box_age_talks_to_a_current_one() {
    if !is_possible() {
        return;
    }
    let lab = Lab::new().unwrap();
    let settings = "nacl_below = 89\nplain_http_boxes = true";
    let server = Server::start(lab.host().unwrap(), settings).unwrap();
    let key = server.key().unwrap();
    let mut old = Client::start(lab.host().unwrap(), Release::Nacl, &[]).unwrap();
    old.join(&server.url, &key, "old").unwrap();
    let new = Client::start(lab.host().unwrap(), Release::Current, &[]).unwrap();
    new.join(&server.url, &key, "new").unwrap();
    new.wait_for_peers(&["old"], SOON);
    old.wait_for_peers(&["new"], SOON);
    old.serve_echo(ECHO, 7000).unwrap();
    reaches(&new, &old.ipv4().unwrap(), 7000);
}

#[test]
fn clients_without_a_direct_path_talk_through_the_relay() {
    if !is_possible() {
        return;
    }
    let (_lab, _server, mut clients) = joined(2, &[("TS_DEBUG_NEVER_DIRECT_UDP", "true")]);
    let two = clients[1].ipv4().unwrap();
    clients[0].wait_for_peers(&["c2"], SOON);
    wait_for("a pong through the relay", SOON, || {
        let pong = clients[0]
            .run(&[
                "ping",
                "--c=1",
                "--until-direct=false",
                "--timeout=5s",
                &two,
            ])
            .map_err(|error| error.to_string())?;
        if pong.contains("via DERP(bowline)") {
            Ok(())
        } else {
            Err(pong)
        }
    });
    clients[1].serve_echo(ECHO, 7000).unwrap();
    reaches(&clients[0], &two, 7000);
}

#[test]
fn killed_server_comes_back_and_nothing_acknowledged_is_lost() {
    if !is_possible() {
        return;
    }
    let (lab, mut server, clients) = joined(2, &[]);
    let before = server.bowline(&["nodes", "list"]).unwrap();
    let key = server.key().unwrap();
    server.kill9();
    server.restart().unwrap();
    let third = Client::start(lab.host().unwrap(), Release::Current, &[]).unwrap();
    third.join(&server.url, &key, "c3").unwrap();
    clients[0].wait_for_peers(&["c2", "c3"], Duration::from_secs(60));
    clients[1].wait_for_peers(&["c1", "c3"], Duration::from_secs(60));
    let after = server.bowline(&["nodes", "list"]).unwrap();
    for (node, kept) in before
        .as_array()
        .unwrap()
        .iter()
        .zip(after.as_array().unwrap())
    {
        assert_eq!(
            (&node["id"], &node["node_key"]),
            (&kept["id"], &kept["node_key"])
        );
    }
}

#[test]
fn idle_stream_outlives_the_watchdog_and_a_cut_cable_is_survived() {
    if !is_possible() {
        return;
    }
    let (_lab, server, clients) = joined(2, &[]);
    let key_before = server.bowline(&["nodes", "show", "c1"]).unwrap()["node_key"].clone();
    // Longer than the client's watchdog of 120 s: without keep-alives it would break the stream.
    let until = Instant::now() + Duration::from_secs(130);
    while Instant::now() < until {
        assert_eq!(clients[0].state(), "Running");
        std::thread::sleep(Duration::from_secs(5));
    }
    let status = clients[0].status().unwrap();
    let health = status["Health"].as_array().cloned().unwrap_or_default();
    let lost = health
        .iter()
        .any(|line| line.to_string().contains("not connected"));
    assert!(!lost, "the client lost the server: {health:?}");
    // A client whose network is cut for a minute finds its way back by itself.
    clients[0].host.set_cable(false).unwrap();
    std::thread::sleep(Duration::from_secs(60));
    clients[0].host.set_cable(true).unwrap();
    server
        .bowline(&["nodes", "rename", "c2", "renamed"])
        .unwrap();
    wait_for(
        "the client hears of a change again",
        Duration::from_secs(60),
        || {
            let status = clients[0].status().unwrap_or_default().to_string();
            if status.contains("renamed.home") {
                Ok(())
            } else {
                Err("not yet".to_owned())
            }
        },
    );
    let key_after = server.bowline(&["nodes", "show", "c1"]).unwrap()["node_key"].clone();
    assert_eq!(key_before, key_after, "no new registration");
}

#[test]
fn separate_services_with_two_gateways_lose_nothing_to_faults() {
    if !is_possible() {
        return;
    }
    let name = "separate_services_with_two_gateways_lose_nothing_to_faults";
    let Some(hosts) = inside(name, 5) else { return };
    let mut split = Split::start().unwrap();
    let key = split.key().unwrap();
    let join = |split: &Split, host: usize, gateway: usize| {
        let client = Client::start(hosts[host].clone(), Release::Current, &[]).unwrap();
        client
            .join(&split.url(gateway), &key, &format!("c{}", host + 1))
            .unwrap();
        client
    };
    // One client on each gateway.
    let one = join(&split, 0, 1);
    let mut two = join(&split, 1, 2);
    one.wait_for_peers(&["c2"], SOON);
    two.serve_echo(ECHO, 7000).unwrap();
    let address = two.ipv4().unwrap();
    reaches(&one, &address, 7000);

    // Every service is killed and started again: nothing is lost, the clients converge.
    for service in ["identity", "key-registry", "policy-compiler", "gateway-2"] {
        split.start_service(service).unwrap();
    }
    let three = join(&split, 2, 1);
    one.wait_for_peers(&["c2", "c3"], Duration::from_secs(60));
    two.wait_for_peers(&["c1", "c3"], Duration::from_secs(60));

    // A revocation reaches the other gateway within a second.
    let answer = split.bowline(&["nodes", "expire", "c3"]).unwrap();
    let told = one.wait_for_peers(&["c2"], SOON);
    assert!(
        told < SECOND,
        "peers were told of the expiry after {told:?}: {answer}"
    );
    drop(three);

    // Without Redis changes still arrive, only later.
    split.redis.kill9();
    let four = join(&split, 3, 2);
    one.wait_for_peers(&["c2", "c4"], Duration::from_secs(10));
    four.wait_for_peers(&["c1", "c2"], Duration::from_secs(10));
    split.redis.restart().unwrap();

    // Without PostgreSQL the connected stay, and a new one is told to come back later.
    split.postgres.kill9();
    let fifth = Client::start(hosts[4].clone(), Release::Current, &[]).unwrap();
    let (url, key_flag) = (
        format!("--login-server={}", split.url(1)),
        format!("--authkey={key}"),
    );
    let refused = fifth.run(&["up", &url, &key_flag, "--hostname=c5", "--timeout=4s"]);
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(
        (one.state(), two.state()),
        ("Running".to_owned(), "Running".to_owned())
    );
    reaches(&one, &address, 7000);
    split.postgres.restart().unwrap();
    wait_for("the fifth joins after all", Duration::from_secs(60), || {
        fifth
            .join(&split.url(1), &key, "c5")
            .map_err(|error| error.to_string())
    });
    one.wait_for_peers(&["c2", "c4", "c5"], Duration::from_secs(30));
}

#[test]
fn published_rust_client_joins_and_answers_a_go_client() {
    if !is_possible() {
        return;
    }
    let (lab, server, clients) = joined(1, &[]);
    let key = server.key().unwrap();
    let host = lab.host().unwrap();
    let rust = RustClient::start(&host, &server.url, &key, "rusty").unwrap();
    let (address, _) = wait_for("the Rust client joins", Duration::from_secs(60), || {
        rust.address().ok_or_else(|| rust.log())
    });
    clients[0].wait_for_peers(&["rusty"], SOON);
    wait_for("the Rust client answers", Duration::from_secs(60), || {
        let answer = clients[0].echo(&address, 7000, "hello");
        answer.map_err(|error| error.to_string())
    });
}
