//! What an operator sees who starts the files of `deploy/compose`, with real clients.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails where something is not as expected"
)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use bowline_interop::{Client, ComposeStack, DockerEngine, Release, TestNetwork, wait_for};
use bowline_test_servers::choose_size;
use serde_json::Value;

const ECHO: &str = env!("CARGO_BIN_EXE_echo-server");
const MINUTE: Duration = Duration::from_secs(60);
const PORT: u16 = 7000;
/// The services of the full stack, each in a container of its name.
const SERVICES: [&str; 9] = [
    "gateway-1",
    "gateway-2",
    "identity",
    "key-registry",
    "policy-compiler",
    "relay",
    "balancer",
    "redis",
    "postgres",
];

/// A stack on a network of its own; `None` where it can not run.
fn start_stack(file: &'static str) -> Option<(TestNetwork, ComposeStack)> {
    let network = TestNetwork::new().unwrap()?;
    let host = network.host().unwrap();
    let engine = DockerEngine::start(&host).unwrap()?;
    let stack = ComposeStack::start(engine, file, &host.address).unwrap();
    Some((network, stack))
}

/// Starts a client that trusts an authority; it has not joined.
fn start_client(network: &TestNetwork, authority: &Path) -> Client {
    let trusted = authority.display().to_string();
    let environment = [("SSL_CERT_FILE", &*trusted)];
    Client::start(network.host().unwrap(), Release::Current, &environment).unwrap()
}

/// Waits until a change is accepted and a client sees it, and clients reach each other.
fn converges(stack: &ComposeStack, clients: &[Client], name: &str) {
    wait_for(&format!("{name} is accepted"), MINUTE, || {
        let renamed = stack.bowline(&["nodes", "rename", "2", name]);
        renamed.map_err(|error| error.to_string())
    });
    let known = format!("{name}.home");
    wait_for(&format!("the other client hears of {name}"), MINUTE, || {
        let status = clients[0].status().unwrap_or_default().to_string();
        match status.contains(&known) {
            true => Ok(()),
            false => Err(status),
        }
    });
    let address = clients[1].ipv4().unwrap();
    wait_for("the clients reach each other", MINUTE, || {
        let answer = clients[0].echo(&address, PORT, "hello");
        answer.map_err(|error| error.to_string())
    });
}

/// Lets each of two clients be at a gateway of its own: the balancer hands a new connection to the gateway that has fewer.
fn spread(stack: &ComposeStack, clients: &[Client]) {
    let sessions = |gateway| stack.metric(gateway, "bowline_gateway_map_sessions");
    wait_for("each gateway has a client", 3 * MINUTE, || {
        let [one, two] = ["gateway-1", "gateway-2"].map(|gateway| sessions(gateway).unwrap());
        if one >= 1.0 && two >= 1.0 {
            return Ok(());
        }
        // Both are at one gateway: one of them comes again.
        if one + two >= 2.0 {
            clients[1].host.break_connections(8443).unwrap();
        }
        Err(format!("{one} and {two}"))
    });
}

/// While the database is away a service runs and is not ready, so that nothing starts it again in vain.
fn lives_without_its_database(stack: &ComposeStack, service: &str) {
    let health = |more: &[&str]| {
        let ask = ["exec", "-T", service, "/usr/local/bin/bowline", "health"];
        let answer = stack.run(&[&ask[..], more].concat());
        answer.map_err(|error| error.to_string())
    };
    stack.run(&["stop", "postgres"]).unwrap();
    wait_for("the service is not ready", MINUTE, || match health(&[]) {
        Err(said) if said.contains("the database does not answer") => Ok(()),
        said => Err(format!("{said:?}")),
    });
    health(&["--live"]).unwrap();
    stack.run(&["start", "postgres"]).unwrap();
    wait_for("the service is ready", MINUTE, || health(&[]));
}

/// The owners of hard state, which a restore wants to be ended.
const OWNERS: [&str; 3] = ["identity", "key-registry", "policy-compiler"];

/// A backup is taken while everything runs. In full, it is also restored while the gateways run.
fn restores_a_backup(stack: &ComposeStack, clients: &[Client]) {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("backup");
    let url = ["--database-file", "/etc/bowline/database-url"];
    let backup = [
        &[
            "exec",
            "-T",
            "identity",
            "/usr/local/bin/bowline",
            "backup",
            "-",
        ][..],
        &url,
    ];
    stack.run_into(&backup.concat(), &file).unwrap();
    if choose_size(0, 1) == 0 {
        return;
    }
    let lost = stack.bowline(&["users", "create", "lost@example.com"]);
    let lost = lost.unwrap()["id"].as_u64().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    stack.run(&[&["stop"], &OWNERS[..]].concat()).unwrap();
    let volume = format!("{}:/backup:ro", file.display());
    let restore = [
        &["run", "--rm", "-T", "--no-deps", "--volume", &volume],
        &["--entrypoint", "/usr/local/bin/bowline", "identity"][..],
        &["restore", "/backup", "--replace"],
        &url,
    ];
    wait_for("the restore", MINUTE, || {
        let restored = stack.run(&restore.concat());
        restored.map_err(|error| error.to_string())
    });
    stack.run(&[&["start"], &OWNERS[..]].concat()).unwrap();
    converges(stack, clients, "restored");
    let made = stack.bowline(&["users", "create", "new@example.com"]);
    assert!(made.unwrap()["id"].as_u64().unwrap() > lost);
}

/// Returns where the programs of a later release are, if they are built.
#[expect(clippy::disallowed_methods, reason = "`tests/run --all` says so")]
fn next_release() -> Option<PathBuf> {
    std::env::var_os("TEST_NEXT_RELEASE").map(PathBuf::from)
}

/// Each service is started from the image of a later release, one after the other.
fn upgrades_each_service(stack: &ComposeStack, clients: &[Client], next: &Path) {
    stack.change_image(next).unwrap();
    for service in OWNERS
        .into_iter()
        .chain(["relay", "gateway-1", "gateway-2"])
    {
        let before = stack.container(service).unwrap();
        stack.run(&["up", "-d", "--no-deps", service]).unwrap();
        assert_ne!(stack.container(service).unwrap(), before, "{service}");
        converges(stack, clients, &format!("upgraded-{service}"));
    }
}

/// Every container has no rights, writes nowhere but into what it is given, and runs as an account of its own.
fn check_confinement(container: &Value) {
    let name = &container["Name"];
    let host = &container["HostConfig"];
    assert_eq!(host["ReadonlyRootfs"], true, "{name}");
    assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]), "{name}");
    assert_eq!(host["Privileged"], false, "{name}");
    let options = host["SecurityOpt"].to_string();
    assert!(options.contains("no-new-privileges"), "{name}: {options}");
    let user = container["Config"]["User"].as_str().unwrap_or_default();
    assert!(!["", "0", "root"].contains(&user), "{name}: {user:?}");
}

#[test]
fn full_stack_serves_clients_on_two_gateways_whatever_is_killed() {
    let Some((network, mut stack)) = start_stack("docker-compose.yml") else {
        return;
    };
    let said = stack.run(&["logs", "--no-color", "welcome"]).unwrap();
    assert!(said.contains("run --rm bowline first-key"), "{said}");
    let first = stack.bowline(&["first-key"]).unwrap();
    let key = first["key"].as_str().unwrap();
    assert_eq!(first["url"], stack.url());
    let authority = stack
        .authority("gateway-1", "/etc/bowline/tls/ca.pem")
        .unwrap();
    let clients = ["c1", "c2"].map(|name| {
        let mut client = start_client(&network, &authority);
        client.join(&stack.url(), key, name).unwrap();
        client.serve_echo(ECHO, PORT).unwrap();
        client
    });
    spread(&stack, &clients);
    // The gateways see where a client is, past the balancer.
    let third = start_client(&network, &authority);
    let (_, _waiting) = third.begin_login(&stack.url(), "c3").unwrap();
    let pending = stack.bowline(&["logins", "list"]).unwrap();
    assert_eq!(pending[0]["source_address"], *third.host.address);
    converges(&stack, &clients, "joined");
    for service in &SERVICES[..choose_size(4, SERVICES.len())] {
        stack.crash(service).unwrap();
        converges(&stack, &clients, &format!("after-{service}"));
    }
    stack
        .containers()
        .unwrap()
        .iter()
        .for_each(check_confinement);
    lives_without_its_database(&stack, "identity");
    restores_a_backup(&stack, &clients);
    if let Some(next) = next_release() {
        upgrades_each_service(&stack, &clients, &next);
    }
    // Starting again what runs changes nothing, and nothing that is written down has a secret.
    stack.run(&["up", "-d"]).unwrap();
    converges(&stack, &clients, "again");
    let logs = stack.run(&["logs", "--no-color"]).unwrap();
    for secret in [
        key,
        first["link"].as_str().unwrap(),
        "postgres://",
        "redis://",
    ] {
        assert!(!logs.contains(secret), "a log has {secret}");
    }
    if choose_size(0, 1) == 1 {
        add_other_files(&mut stack);
    }
}

/// Waits until a page is served.
fn answers(stack: &ComposeStack, url: &str, authority: Option<&Path>) {
    wait_for(url, MINUTE, || {
        let answer = stack.fetch(url, authority);
        answer.map_err(|error| error.to_string())
    });
}

/// The files that are added: a certificate of the operator's, a proxy in front, an authority that is not there, and Prometheus.
fn add_other_files(stack: &mut ComposeStack) {
    let place = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["10.77.0.1".to_owned()]).unwrap();
    let certificate = place.path().join("certificate.pem");
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(
        place.path().join("key.pem"),
        made.signing_key.serialize_pem(),
    )
    .unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let directory = place.path().display().to_string();
    stack
        .add("tls-files.yml", &[("BOWLINE_TLS", &directory)])
        .unwrap();
    answers(stack, "https://10.77.0.1:8443/health", Some(&certificate));

    let published = [
        ("BOWLINE_PORT", "10.77.0.1:8443"),
        ("BOWLINE_PROXY", "10.77.0.0/24"),
    ];
    stack.add("tls-proxy.yml", &published).unwrap();
    answers(stack, "http://10.77.0.1:8443/health", None);

    let ordering = [
        ("BOWLINE_ADDRESS", "vpn.example.com"),
        ("BOWLINE_ACME_AGREE_TO_TERMS", "true"),
        (
            "BOWLINE_ACME_DIRECTORY_URL",
            "https://10.77.0.1:1/directory",
        ),
    ];
    stack.add("tls-acme.yml", &ordering).unwrap();
    wait_for("a gateway has asked the authority", MINUTE, || {
        let log = stack.run(&["logs", "gateway-1", "gateway-2"]);
        match log.map_err(|error| error.to_string())? {
            log if log.contains("https://10.77.0.1:1/directory can not be asked") => Ok(()),
            log => Err(log),
        }
    });

    stack.add("observability.yml", &[]).unwrap();
    wait_for("Prometheus reaches every process", MINUTE, || {
        let targets = stack.fetch("http://127.0.0.1:9090/api/v1/targets", None);
        let targets = targets.map_err(|error| error.to_string())?;
        match targets.matches("\"health\":\"up\"").count() {
            6 => Ok(()),
            _ => Err(targets),
        }
    });
}

#[test]
fn single_process_serves_clients_and_comes_back_when_it_is_killed() {
    let Some((network, stack)) = start_stack("single.yml") else {
        return;
    };
    let healthy = || {
        let containers = stack.containers().unwrap();
        let health = containers[0]["State"]["Health"]["Status"].clone();
        (health == "healthy")
            .then_some(())
            .ok_or(health.to_string())
    };
    wait_for("the container is healthy", MINUTE, healthy);
    let made = stack
        .bowline(&["keys", "create", "--user", "owner@home", "--reusable"])
        .unwrap();
    let authority = stack
        .authority("bowline", "/var/lib/bowline/tls/ca.pem")
        .unwrap();
    let clients = ["c1", "c2"].map(|name| {
        let mut client = start_client(&network, &authority);
        client
            .join(&stack.url(), made["secret"].as_str().unwrap(), name)
            .unwrap();
        client.serve_echo(ECHO, PORT).unwrap();
        client
    });
    converges(&stack, &clients, "joined");
    stack.crash("bowline").unwrap();
    converges(&stack, &clients, "again");
    stack
        .containers()
        .unwrap()
        .iter()
        .for_each(check_confinement);
    let logs = stack.run(&["logs", "--no-color"]).unwrap();
    assert!(!logs.contains("bowline-auth-"), "{logs}");
}
