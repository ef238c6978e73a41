//! Everything in one container.

use bowline_interop::find_next_release;

use super::{check_confinement, converges, join_two, start_stack, upgrades};

#[test]
fn single_process_serves_clients_and_comes_back_when_it_is_killed() {
    let Some((network, stack)) = start_stack("single.yml") else {
        return;
    };
    stack.wait_until_healthy("bowline");
    let made = stack
        .bowline(&["keys", "create", "--user", "owner@home", "--reusable"])
        .unwrap();
    let authority = stack
        .authority("bowline", "/var/lib/bowline/tls/ca.pem")
        .unwrap();
    let key = made["secret"].as_str().unwrap();
    let clients = join_two(&network, &stack, &authority, key);
    converges(&stack, &clients, "joined");
    stack.crash("bowline").unwrap();
    converges(&stack, &clients, "again");
    if let Some(next) = find_next_release() {
        stack.change_image(&next).unwrap();
        upgrades::replace(&stack, "bowline");
        converges(&stack, &clients, "upgraded");
    }
    stack
        .containers()
        .unwrap()
        .iter()
        .for_each(check_confinement);
    let logs = stack.run(&["logs", "--no-color"]).unwrap();
    assert!(!logs.contains("bowline-auth-"), "{logs}");
}
