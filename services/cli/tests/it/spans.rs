//! What a change leads to in all services is one trace at a collector.

mod collector;

use std::{
    fs,
    io::Read as _,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use bowline_test_deployments::{Deployment, Launch, OneProcess, Separate};
use bowline_test_servers::PostgresServer;
use bowline_upgrade::FORGED_REQUEST_ID;
use serde_json::json;

use super::joined_device::{JoinedDevice, join, prepare_tailnet};
use collector::{ReceivedSpan, TestCollector};

const IDENTITY: &str = "bowline-identity";
const REGISTRY: &str = "bowline-key-registry";
const COMPILER: &str = "bowline-policy-compiler";
const GATEWAY: &str = "bowline-netmap-gateway";

/// What proves the senders to the collector.
const HEADERS: &str = "authorization=Bearer%20collector-secret";

/// Follows the netmap, and reads on until the end.
fn follow(joined: &JoinedDevice, at: SocketAddr) {
    let mut stream: TcpStream = joined.device.stay(at, &json!({})).unwrap();
    stream.set_read_timeout(None).unwrap();
    std::thread::spawn(move || drop(stream.read_to_end(&mut Vec::new())));
}

fn count(trace: &[ReceivedSpan], service: &str, name: &str) -> usize {
    let is_counted = |span: &&ReceivedSpan| span.is(service, name);
    trace.iter().filter(is_counted).count()
}

/// Says whether some gateway has told a node of the change.
fn tells(trace: &[ReceivedSpan], node: u64) -> bool {
    let node = i64::try_from(node).unwrap();
    let mut spans = trace.iter();
    spans.any(|span| span.span.name == "send delta" && span.number("bowline.node.id") == Some(node))
}

/// Says whether every span is a part of another, up to a first one. Calls of one command may be several first ones.
fn is_whole(trace: &[ReceivedSpan]) -> bool {
    let has_parent = |span: &ReceivedSpan| {
        let parent = &span.span.parent_span_id;
        trace.iter().any(|other| other.span.span_id == *parent)
    };
    let roots: Vec<_> = trace.iter().filter(|span| span.is_root()).collect();
    let are_of_a_command = roots.iter().all(|root| root.span.name.contains('/'));
    (roots.len() == 1 || are_of_a_command)
        && trace.iter().all(|span| span.is_root() || has_parent(span))
}

#[test]
fn registration_policy_and_revocation_are_each_one_trace_through_all_services() {
    let Some(postgres) = PostgresServer::shared().unwrap() else {
        return;
    };
    let (place, database) = (tempfile::tempdir().unwrap(), postgres.new_database());
    let collector = TestCollector::start();
    let launch = Launch {
        gateways: 2,
        environment: &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
            ("OTEL_EXPORTER_OTLP_HEADERS", HEADERS),
            ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ],
        ..Launch::default()
    };
    let database = database.unwrap();
    let Some(server) = Separate::start_with(place.path(), &database, &launch).unwrap() else {
        return;
    };
    let [here, there] = *server.addresses() else {
        panic!("two gateways were asked for");
    };
    prepare_tailnet(&server);
    let peer = join(&server, there, "peer");
    follow(&peer, there);
    netmap_is_a_part_of_its_request(&collector, &peer);
    let newcomer = join(&server, here, "newcomer");

    registration_is_one_trace(&collector, &peer);
    follow(&newcomer, here);
    netmap_is_a_part_of_its_request(&collector, &newcomer);
    let both = [peer, newcomer];
    policy_change_is_one_trace(&server, &collector, &both);
    revocation_is_one_trace(&server, &collector, &both);

    let log = server.log("netmap-gateway").unwrap();
    server.end().unwrap();
    nothing_is_told_that_is_nobodys_business(&collector, &both);
    let given = Some("Bearer collector-secret".to_owned());
    assert_eq!(collector.authorizations(), [given].into());
    assert!(!log.contains("collector-secret"));
}

/// The node is shown once the compiler has placed it, on the gateway that its peer is connected to.
fn registration_is_one_trace(collector: &TestCollector, peer: &JoinedDevice) {
    collector.wait_for_trace("register", |trace| {
        let find = |name| trace.iter().find(|span| span.span.name == name);
        let (asked, told) = (find("register"), find("send delta"));
        let is_elsewhere = asked
            .zip(told)
            .is_some_and(|(asked, told)| asked.instance != told.instance);
        let calls = [
            (
                REGISTRY,
                "bowline.key_registry.v1.RegistrationService/Register",
            ),
            (IDENTITY, "bowline.identity.v1.IdentityService/ResolveUsers"),
            (
                COMPILER,
                "bowline.policy.v1.PolicyCompilerService/JudgeNodes",
            ),
            (REGISTRY, "commit change"),
            (COMPILER, "compile change"),
        ];
        let has = |(service, name): &(&str, &str)| count(trace, service, name) == 1;
        calls.iter().all(has)
            && count(trace, GATEWAY, "apply change") >= 2
            && tells(trace, peer.node)
            && is_elsewhere
            && is_whole(trace)
    });
}

fn netmap_is_a_part_of_its_request(collector: &TestCollector, joined: &JoinedDevice) {
    let node = i64::try_from(joined.node).ok();
    let is_its = |span: &ReceivedSpan| {
        span.span.name == "send netmap" && span.number("bowline.node.id") == node
    };
    collector.wait_for_trace("map", |trace| trace.iter().any(is_its) && is_whole(trace));
}

fn policy_change_is_one_trace(
    server: &Separate,
    collector: &TestCollector,
    joined: &[JoinedDevice],
) {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("policy.hujson");
    let policy = r#"{"acls": [{"action": "accept", "src": ["owner@home"], "dst": ["*:22"]}]}"#;
    fs::write(&file, policy).unwrap();
    let file = file.display().to_string();
    server.bowline(&["policy", "set", &file]).unwrap();
    collector.wait_for_trace("bowline.policy.v1.PolicyService/SetPolicy", |trace| {
        count(trace, COMPILER, "commit change") == 1
            && count(trace, COMPILER, "compile change") == 1
            && count(trace, GATEWAY, "apply change") == 2
            && joined.iter().all(|device| tells(trace, device.node))
            && is_whole(trace)
    });
}

/// The last device's key ends: it is told on one gateway, its peer on the other.
fn revocation_is_one_trace(server: &Separate, collector: &TestCollector, joined: &[JoinedDevice]) {
    let node = joined.last().unwrap().node.to_string();
    server.bowline(&["nodes", "expire", &node]).unwrap();
    collector.wait_for_trace("bowline.key_registry.v1.NodeService/ExpireNode", |trace| {
        count(trace, REGISTRY, "commit change") == 1
            && count(trace, GATEWAY, "apply change") >= 2
            && joined.iter().all(|device| tells(trace, device.node))
            && is_whole(trace)
    });
}

fn nothing_is_told_that_is_nobodys_business(collector: &TestCollector, joined: &[JoinedDevice]) {
    for JoinedDevice { device, key, .. } in joined {
        let node_key = device.node_key();
        let (_, hexadecimal) = node_key.split_once(':').unwrap();
        for secret in [key, key.rsplit('-').next().unwrap(), hexadecimal] {
            assert!(!collector.has_text(secret), "{secret}");
        }
    }
    let texts = [
        "owner@home",
        "newcomer",
        "*:22",
        "collector-secret",
        "mkey:",
        FORGED_REQUEST_ID,
    ];
    for text in texts {
        assert!(!collector.has_text(text), "{text}");
    }
    // What services do by themselves is no trace.
    for span in collector.spans().iter().filter(|span| span.is_root()) {
        let name = &span.span.name;
        assert!(
            !name.ends_with("/Heads") && !name.contains("Lease"),
            "{name}"
        );
    }
}

/// Starts a server of one process, lets a device join that another one is told of, and ends it; returns the other one.
fn serve_a_registration(place: &Path, launch: &Launch<'_>) -> JoinedDevice {
    let server = OneProcess::start_with(place, launch).unwrap();
    prepare_tailnet(&server);
    let peer = join(&server, server.address(), "peer");
    follow(&peer, server.address());
    join(&server, server.address(), "newcomer");
    server.end().unwrap();
    peer
}

#[test]
fn one_process_sends_its_last_spans_over_tls_before_it_ends() {
    let place = tempfile::tempdir().unwrap();
    let (collector, certificate) = TestCollector::start_with_tls();
    let authority = place.path().join("collector.pem");
    fs::write(&authority, certificate).unwrap();
    let launch = Launch {
        environment: &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
            (
                "OTEL_EXPORTER_OTLP_CERTIFICATE",
                authority.to_str().unwrap(),
            ),
            ("OTEL_BSP_SCHEDULE_DELAY", "600000"),
            ("OTEL_SERVICE_NAME", "of-home"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "deployment.environment.name=test",
            ),
        ],
        ..Launch::default()
    };
    let peer = serve_a_registration(place.path(), &launch);
    let trace = collector.wait_for_trace("register", |trace| tells(trace, peer.node));
    assert!(is_whole(&trace), "{trace:#?}");
    assert!(trace.iter().all(|span| span.service == "of-home"));
    assert!(collector.has_text("deployment.environment.name"));
}

#[test]
fn what_the_sampler_leaves_out_is_not_sent() {
    let (place, collector) = (tempfile::tempdir().unwrap(), TestCollector::start());
    let launch = Launch {
        environment: &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0"),
        ],
        ..Launch::default()
    };
    serve_a_registration(place.path(), &launch);
    assert!(collector.spans().is_empty());
}

/// Starts a server whose collector is at an address, uses it and ends it; returns its log.
fn serve_without_collector(address: SocketAddr) -> String {
    let place = tempfile::tempdir().unwrap();
    let endpoint = format!("http://{address}");
    let launch = Launch {
        environment: &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ],
        ..Launch::default()
    };
    let server = OneProcess::start_with(place.path(), &launch).unwrap();
    prepare_tailnet(&server);
    for number in 0..5 {
        let begin = Instant::now();
        join(&server, server.address(), &format!("node{number}"));
        assert!(begin.elapsed() < Duration::from_secs(5), "nobody waits");
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while !server.log().unwrap().contains("does not take spans") {
        assert!(Instant::now() < deadline, "{}", server.log().unwrap());
        server.bowline(&["nodes", "list"]).unwrap();
    }
    // Failures go on, and are not told again.
    for _ in 0..5 {
        server.bowline(&["nodes", "list"]).unwrap();
    }
    let log = place.path().join("serve.log");
    let begin = Instant::now();
    server.end().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(10), "the end waits");
    fs::read_to_string(log).unwrap()
}

#[test]
fn collector_that_is_away_or_silent_holds_nothing_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = listener.local_addr().unwrap();
    // Whoever connects there is never answered: nobody accepts.
    let log = serve_without_collector(silent);
    assert_eq!(log.matches("does not take spans").count(), 1, "{log}");
    drop(listener);
    let log = serve_without_collector(silent);
    assert_eq!(log.matches("does not take spans").count(), 1, "{log}");
}
