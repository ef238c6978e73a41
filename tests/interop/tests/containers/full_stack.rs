//! The services in containers of their own, with two gateways behind a balancer.

use bowline_interop::{Client, ComposeStack, wait_for};
use bowline_test_servers::choose_size;

use super::{
    MINUTE, SERVICES, backup, check_confinement, converges, join_two, other_files, standby,
    start_client, start_stack, upgrades,
};

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
    let clients = join_two(&network, &stack, &authority, key);
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
    backup::restores_a_backup(&stack, &clients);
    standby::takes_the_place_of_the_database(&mut stack, &clients);
    upgrades::upgrades_each_service(&stack, &clients);
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
        other_files::add_other_files(&mut stack);
    }
}
