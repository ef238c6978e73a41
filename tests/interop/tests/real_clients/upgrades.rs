//! Services that are upgraded one after the other while clients are connected and administrators change things, and put back.
//!
//! The other release is this one with a field, a column and a kind of log entry more: `tests/upgrade/next-release.patch`, which
//! `tests/run --all` builds. Without it each service is started again as it is.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use bowline_interop::{
    Administrator, Balancer, Client, Split, UPGRADE_ORDER, find_next_release, longest_gap, wait_for,
};
use bowline_service_kit::SCHEMA_LEVEL;
use serde_json::Value;

use super::{MINUTE, SOON, hears_of, split, wait_for_owners};

/// How long a client may be without its map.
const LONGEST_GAP: Duration = Duration::from_secs(5);
/// How long it may take until new things are written once every process knows them: all are watched for a minute first.
const RAISED_WITHIN: Duration = Duration::from_secs(120);

/// Ends a service and starts it from a release.
fn restart_from(split: &mut Split, service: &'static str, release: Option<&PathBuf>) {
    split.terminate(service).unwrap();
    wait_for("the service ends", SOON, || {
        match split.has_ended(service) {
            Some(true) => Ok(()),
            other => Err(format!("{service}: {other:?}")),
        }
    });
    split.use_release(release.map(|path| &**path));
    split.start_service(service).unwrap();
    wait_for_owners(split);
}

/// Makes users until it is told to stop; returns those that were acknowledged.
fn make_users(administrator: &Administrator, is_over: &AtomicBool) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for number in 0.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let login = format!("user{number}@example.com");
        if administrator.bowline(&["users", "create", &login]).is_ok() {
            acknowledged.push(login);
        }
    }
    acknowledged
}

/// Returns how many users have what only the later release writes.
fn count_greeted(split: &Split) -> u64 {
    let question = "SELECT COUNT(*) FROM identity.users WHERE greeting <> ''";
    let found = split.postgres.ask(split.database_url(), question).unwrap();
    found.parse().unwrap()
}

/// Returns the schema level in use.
fn read_level(split: &Split) -> u32 {
    let question = "SELECT MAX(level) FROM identity.schema_levels";
    let found = split.postgres.ask(split.database_url(), question).unwrap();
    found.parse().unwrap()
}

/// Upgrades some services and puts them back, then upgrades all; checks what may be written when.
fn upgrade_all(split: &mut Split, clients: &[Client], next: &PathBuf) {
    for service in &UPGRADE_ORDER[..5] {
        restart_from(split, service, Some(next));
    }
    split
        .bowline(&["users", "create", "early@example.com"])
        .unwrap();
    assert_eq!(count_greeted(split), 0, "one gateway does not know it");
    for service in UPGRADE_ORDER[..5].iter().rev() {
        restart_from(split, service, None);
    }
    split
        .bowline(&["users", "create", "back@example.com"])
        .unwrap();
    assert_eq!(read_level(split), SCHEMA_LEVEL);
    for service in UPGRADE_ORDER {
        restart_from(split, service, Some(next));
    }
    wait_for(
        "all know it for long enough",
        RAISED_WITHIN,
        || match read_level(split) {
            level if level > SCHEMA_LEVEL => Ok(()),
            level => Err(format!("level {level}")),
        },
    );
    wait_for("new things are written", SOON, || {
        let number = count_greeted(split);
        match number {
            0 => Err("nobody is greeted".to_owned()),
            _ => Ok(()),
        }
    });
    split
        .bowline(&["nodes", "rename", "c0", "upgraded"])
        .unwrap();
    for client in &clients[1..] {
        hears_of(client, "upgraded", MINUTE);
    }
    // From here on the release before is refused, with words.
    split.terminate("identity").unwrap();
    wait_for("identity ends", SOON, || {
        split.has_ended("identity").ok_or("it runs".to_owned())
    });
    split.use_release(None);
    split.start_service("identity").unwrap();
    wait_for("the older identity is refused", SOON, || {
        match split.has_ended("identity") {
            Some(false) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let said = split.log("identity");
    let later = SCHEMA_LEVEL + 1;
    let says = format!("is in use at schema level {later}");
    assert!(said.contains(&says), "{said}");
    split.use_release(Some(next));
    split.start_service("identity").unwrap();
}

#[test]
fn each_service_is_upgraded_and_put_back_under_load_and_nothing_is_lost() {
    let name = "upgrades::each_service_is_upgraded_and_put_back_under_load_and_nothing_is_lost";
    let Some((mut split, clients)) = split(name, 4) else {
        return;
    };
    let gateways = [8081, 8082].map(|port| SocketAddr::from(([10, 77, 0, 1], port)));
    let _balancer = Balancer::start("10.77.0.1:8080", &gateways).unwrap();
    let key = split.key().unwrap();
    for (number, client) in clients.iter().enumerate() {
        let name = format!("c{number}");
        client.join("http://10.77.0.1:8080", &key, &name).unwrap();
    }
    let listed = split.bowline(&["nodes", "list"]).unwrap();
    let nodes = listed.as_array().unwrap().iter();
    let nodes: Vec<u64> = nodes.map(|node| node["id"].as_u64().unwrap()).collect();
    let next = find_next_release();
    let (is_over, administrator) = (AtomicBool::new(false), split.administrator());
    let acknowledged = thread::scope(|scope| {
        let writer = scope.spawn(|| make_users(&administrator, &is_over));
        // However this ends, the writer ends.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match &next {
            Some(next) => upgrade_all(&mut split, &clients, next),
            None => {
                for service in UPGRADE_ORDER {
                    restart_from(&mut split, service, None);
                }
            }
        }));
        is_over.store(true, Ordering::Relaxed);
        let acknowledged = writer.join().unwrap();
        if let Err(panic) = result {
            std::panic::resume_unwind(panic);
        }
        acknowledged
    });
    let users = wait_for("the users are listed", MINUTE, || {
        split
            .bowline(&["users", "list"])
            .map_err(|error| error.to_string())
    });
    let logins: Vec<&Value> = users.0.as_array().unwrap().iter().collect();
    for login in &acknowledged {
        let is_there = logins.iter().any(|user| user["login_name"] == **login);
        assert!(is_there, "{login} was acknowledged and is lost");
    }
    assert!(acknowledged.len() > 20, "{}", acknowledged.len());
    split.bowline(&["nodes", "rename", "c1", "last"]).unwrap();
    hears_of(&clients[0], "last", MINUTE);
    let logs = split.gateway_logs();
    let gaps = nodes.iter().map(|node| longest_gap(*node, &logs));
    let gaps: Vec<Duration> = gaps.collect();
    println!(
        "{} users, longest times without a map: {gaps:?}",
        acknowledged.len()
    );
    assert!(gaps.iter().all(|gap| *gap < LONGEST_GAP), "{gaps:?}");
}
