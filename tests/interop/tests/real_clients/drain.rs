//! A gateway that is asked to end: its clients move to another one, each at its turn.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bowline_interop::{Balancer, wait_for};

use super::{SOON, hears_of, split_with_drain};

/// How long the gateways may take to end, in seconds.
const DRAIN: u32 = 20;

#[test]
fn clients_of_a_gateway_that_ends_move_to_another_at_their_turn() {
    let name = "drain::clients_of_a_gateway_that_ends_move_to_another_at_their_turn";
    let Some((mut split, clients)) = split_with_drain(name, 6, DRAIN) else {
        return;
    };
    let gateways = [8081, 8082].map(|port| SocketAddr::from(([10, 77, 0, 1], port)));
    let _balancer = Balancer::start("10.77.0.1:8080", &gateways).unwrap();
    let key = split.key().unwrap();
    let mut nodes = BTreeMap::new();
    for (number, client) in clients.iter().enumerate() {
        let name = format!("c{number}");
        client.join("http://10.77.0.1:8080", &key, &name).unwrap();
        let shown = split.bowline(&["nodes", "show", &name]).unwrap();
        nodes.insert(shown["id"].as_u64().unwrap(), client);
    }
    let lives = |sessions: bowline_interop::Sessions| sessions.begun > sessions.ended;
    let on_first = |split: &bowline_interop::Split| -> Vec<u64> {
        let nodes = nodes.keys().copied();
        nodes
            .filter(|node| lives(split.sessions(1, *node)))
            .collect()
    };
    let moving = on_first(&split);
    assert!(moving.len() >= 2, "the balancer spreads them: {moving:?}");
    let begun = split.begun(1);

    split.terminate("gateway-1").unwrap();
    let start = Instant::now();
    let mut left_at = BTreeMap::new();
    let mut arrived_at = BTreeMap::new();
    wait_for(
        "all have moved",
        Duration::from_secs(u64::from(DRAIN)),
        || {
            for node in &moving {
                if !lives(split.sessions(1, *node)) {
                    left_at.entry(*node).or_insert_with(|| start.elapsed());
                }
                if lives(split.sessions(2, *node)) {
                    arrived_at.entry(*node).or_insert_with(|| start.elapsed());
                }
            }
            if arrived_at.len() == moving.len() && left_at.len() == moving.len() {
                Ok(())
            } else {
                Err(format!("left: {left_at:?}, arrived: {arrived_at:?}"))
            }
        },
    );
    println!("left: {left_at:?}, arrived: {arrived_at:?}");
    for node in &moving {
        let took = arrived_at[node].saturating_sub(left_at[node]);
        assert!(took < Duration::from_secs(2), "{node} moved in {took:?}");
    }
    let first = left_at.values().min().unwrap();
    let last = left_at.values().max().unwrap();
    assert!(
        *last - *first > Duration::from_secs(1),
        "no burst: {left_at:?}"
    );
    wait_for(
        "the gateway ends by itself",
        Duration::from_secs(5),
        || match split.has_ended("gateway-1") {
            Some(true) => Ok(()),
            other => Err(format!("{other:?}")),
        },
    );
    assert!(start.elapsed() < Duration::from_secs(u64::from(DRAIN)));
    assert_eq!(
        split.begun(1),
        begun,
        "no session began on the gateway that ends"
    );
    // Whoever moved is told what changes.
    let renamed = nodes.keys().next_back().unwrap().to_string();
    split
        .bowline(&["nodes", "rename", &renamed, "moved"])
        .unwrap();
    for client in &clients {
        hears_of(client, "moved", SOON);
    }
}
