//! A standby takes the place of PostgreSQL, which ends in order or is lost with the end of its log.

use bowline_interop::{Client, ComposeStack, UPGRADE_ORDER, wait_for};
use bowline_test_servers::choose_size;
use serde_json::Value;

use super::{MINUTE, converges};

/// Asks the database of a service.
fn ask(stack: &ComposeStack, service: &str, question: &str) -> Result<String, String> {
    let psql = ["exec", "-T", service, "psql", "--username=bowline"];
    let rest = ["--dbname=bowline", "-Atc", question];
    let answer = stack.run(&[&psql[..], &rest].concat());
    let answer = answer.map_err(|error| error.to_string())?;
    Ok(answer.trim().to_owned())
}

fn create_user(stack: &ComposeStack, login: &str) -> u64 {
    let made = stack.bowline(&["users", "create", login]).unwrap();
    made["id"].as_u64().unwrap()
}

fn has_user(stack: &ComposeStack, login: &str) -> bool {
    let users = stack.bowline(&["users", "list"]).unwrap();
    let is_named = |user: &Value| user["login_name"] == login;
    users.as_array().unwrap().iter().any(is_named)
}

/// Waits until the standby has a user.
fn wait_until_copied(stack: &ComposeStack, login: &str) {
    let question = format!("SELECT COUNT(*) FROM identity.users WHERE login_name = '{login}'");
    wait_for("the standby has it", MINUTE, || {
        match ask(stack, "postgres-standby", &question)?.as_str() {
            "1" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
}

/// PostgreSQL is stopped, and the standby has all of it. The replaced database takes no changes, if somebody starts it again.
fn promotes_in_order(stack: &mut ComposeStack, clients: &[Client]) {
    stack.crash("postgres-standby").unwrap();
    create_user(stack, "kept@example.com");
    stack.run(&["stop", "postgres"]).unwrap();
    stack.add(&["promoted.yml"], &[]).unwrap();
    converges(stack, clients, "promoted");
    assert!(has_user(stack, "kept@example.com"));

    stack.add(&["standby.yml"], &[]).unwrap();
    stack.wait_until_healthy("postgres");
    let is_standby = ask(stack, "postgres", "SELECT pg_is_in_recovery()");
    assert_eq!(is_standby.unwrap(), "t");
    let refused = stack.bowline(&["users", "create", "astray@example.com"]);
    assert!(refused.is_err(), "{refused:?}");
    stack.add(&["promoted.yml"], &[]).unwrap();
    converges(stack, clients, "promoted-still");
}

/// Brings the data back to where they were before, and has a standby again, as `promoted.yml` says.
fn begins_anew(stack: &mut ComposeStack, clients: &[Client]) {
    let script = "cd /var/lib/postgresql; rm -rf data/*; cp -a \"$PGDATA\"/. data";
    let copy = ["run", "--rm", "-T", "--no-deps", "--entrypoint", "sh"];
    stack.run(&["stop", "postgres"]).unwrap();
    stack
        .run(&[&copy[..], &["postgres", "-euc", script]].concat())
        .unwrap();
    stack
        .run(&["rm", "-sf", "postgres", "postgres-standby"])
        .unwrap();
    stack.remove_volume("database-standby").unwrap();
    stack.add(&["standby.yml"], &[]).unwrap();
    stack.wait_until_healthy("postgres-standby");
    converges(stack, clients, "anew");
}

/// PostgreSQL is lost with what its standby had not got: nobody is given a number of what was lost.
fn promotes_without_the_end(stack: &mut ComposeStack, clients: &[Client]) {
    create_user(stack, "copied@example.com");
    wait_until_copied(stack, "copied@example.com");
    stack.disconnect("postgres-standby", "data").unwrap();
    let lost = create_user(stack, "lost@example.com");
    converges(stack, clients, "lost-name");
    stack.run(&["kill", "postgres"]).unwrap();
    stack.add(&["promoted.yml"], &[]).unwrap();
    converges(stack, clients, "found");
    assert!(has_user(stack, "copied@example.com"));
    assert!(!has_user(stack, "lost@example.com"));
    assert!(create_user(stack, "later@example.com") > lost);
}

/// A database that runs is given a standby, which takes its place; everything else runs on.
pub fn takes_the_place_of_the_database(stack: &mut ComposeStack, clients: &[Client]) {
    stack.add(&["standby.yml"], &[]).unwrap();
    stack.wait_until_healthy("postgres-standby");
    // What runs on while the database is replaced.
    let starts = |stack: &ComposeStack| -> Vec<String> {
        let others = UPGRADE_ORDER.into_iter().chain(["balancer"]);
        others
            .map(|service| stack.started_at(service).unwrap())
            .collect()
    };
    let before = starts(stack);
    if choose_size(0, 1) == 1 {
        promotes_in_order(stack, clients);
        begins_anew(stack, clients);
    }
    promotes_without_the_end(stack, clients);
    assert_eq!(starts(stack), before);
}
