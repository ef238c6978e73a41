use std::future::{pending, ready};

use bowline_netmap::fixture::node_id;

use super::*;

fn of(address: &str) -> RequestOrigin {
    RequestOrigin::Stranger(Network::narrowest(address.parse().expect("an address")))
}

#[tokio::test(start_paused = true)]
async fn those_beyond_the_bound_wait_for_their_turn_and_are_then_told_to_come_back() {
    let turns = Turns::new(1, 1);
    let registration = turns
        .admit_registration(RequestOrigin::Known(node_id(1)))
        .await
        .expect("free");
    let map = turns
        .admit_first_map(node_id(1), pending())
        .await
        .expect("free");
    let refused = turns.admit_registration(of("192.0.2.1")).await;
    assert_eq!(refused.expect_err("none is free").status(), 429);
    let refused = turns.admit_first_map(node_id(1), pending()).await;
    assert_eq!(refused.expect_err("none is free").status(), 503);
    let waiting = tokio::join!(
        turns.admit_registration(of("192.0.2.1")),
        turns.admit_first_map(node_id(1), pending()),
        async {
            tokio::time::sleep(PATIENCE / 2).await;
            drop((registration, map));
        }
    );
    assert!(waiting.0.is_ok() && waiting.1.is_ok());
}

#[tokio::test(start_paused = true)]
async fn known_node_waits_for_its_first_map_as_long_as_many_others_take() {
    let turns = Turns::new(1, 1);
    let map = turns
        .admit_first_map(node_id(1), pending())
        .await
        .expect("free");
    let waiting = tokio::join!(turns.admit_first_map(node_id(2), pending()), async {
        tokio::time::sleep(Duration::from_secs(50)).await;
        drop(map);
    });
    assert!(waiting.0.is_ok());
}

#[tokio::test(start_paused = true)]
async fn response_that_was_replaced_takes_no_turn() {
    let turns = Turns::new(1, 1);
    let replaced = turns.admit_first_map(node_id(1), ready(())).await;
    assert_eq!(replaced.expect_err("it was replaced").status(), 503);
    let map = turns
        .admit_first_map(node_id(1), pending())
        .await
        .expect("free");
    let waiting = tokio::time::Instant::now();
    let replaced = turns
        .admit_first_map(node_id(1), tokio::time::sleep(PATIENCE / 2))
        .await;
    assert_eq!(replaced.expect_err("it was replaced").status(), 503);
    assert_eq!(waiting.elapsed(), PATIENCE / 2, "at once, not at the end");
    drop(map);
    assert!(
        turns.admit_first_map(node_id(1), pending()).await.is_ok(),
        "it is free"
    );
}

#[test]
fn machine_asks_about_tailnet_lock_at_its_pace_and_signs_many_nodes_in_a_row() {
    let turns = Turns::new(1, 1);
    let now = Instant::now();
    let asked = |machine: u8, is_signature, times: usize| {
        let taken = (0..times).map(|_| turns.take_lock_call([machine; 32], is_signature, now));
        taken.filter(Result::is_ok).count()
    };
    assert_eq!(asked(1, false, 100), 30);
    assert_eq!(asked(2, false, 1), 1);
    assert_eq!(asked(1, true, 4000), 3000);
    let refused = turns.take_lock_call([1; 32], false, now);
    assert_eq!(refused.expect_err("too often").status(), 429);
    let later = now + Duration::from_secs(1);
    assert!(turns.take_lock_call([1; 32], false, later).is_ok());
}

#[tokio::test(start_paused = true)]
async fn known_nodes_go_first_and_nodes_and_networks_take_turns() {
    let turns = FairSemaphore::new(1);
    let first = turns
        .acquire(RequestOrigin::Known(node_id(9)), PATIENCE)
        .await
        .expect("free");
    let order = Mutex::new(Vec::new());
    let ask = |name: &'static str, asker| {
        let (turns, order) = (&turns, &order);
        async move {
            let turn = turns.acquire(asker, PATIENCE).await.expect("in time");
            order.lock().push(name);
            drop(turn);
        }
    };
    let asking = async {
        tokio::join!(
            ask("a1", of("192.0.2.1")),
            ask("a2", of("192.0.2.1")),
            ask("a3", of("192.0.2.1")),
            ask("b1", of("192.0.2.2")),
            ask("n1", RequestOrigin::Known(node_id(1))),
            ask("n2", RequestOrigin::Known(node_id(1))),
            ask("n3", RequestOrigin::Known(node_id(1))),
            ask("m1", RequestOrigin::Known(node_id(2))),
            async { drop(first) },
        )
    };
    asking.await;
    let order = order.into_inner();
    assert_eq!(order, ["n1", "m1", "n2", "n3", "a1", "b1", "a2", "a3"]);
    let state = turns.lock_queues();
    assert_eq!(state.free, 1);
    assert!(state.known.waiting.is_empty() && state.known.order.is_empty());
    assert!(state.strangers.waiting.is_empty() && state.strangers.order.is_empty());
}

#[tokio::test(start_paused = true)]
async fn turn_of_those_who_have_gone_goes_on() {
    let turns = FairSemaphore::new(1);
    let held = turns
        .acquire(RequestOrigin::Known(node_id(9)), PATIENCE)
        .await
        .expect("free");
    for _ in 0..1000 {
        let late = turns.acquire(of("192.0.2.1"), Duration::ZERO).await;
        assert!(late.is_none());
    }
    drop(held);
    assert!(
        turns
            .acquire(of("192.0.2.1"), Duration::ZERO)
            .await
            .is_some()
    );
    assert_eq!(turns.lock_queues().free, 1);
}

#[tokio::test(start_paused = true)]
async fn those_who_ask_and_leave_at_once_leave_nothing_behind() {
    let turns = FairSemaphore::new(1);
    let _held = turns
        .acquire(RequestOrigin::Known(node_id(9)), PATIENCE)
        .await
        .expect("free");
    for _ in 0..1000 {
        turns
            .acquire(RequestOrigin::Known(node_id(1)), Duration::ZERO)
            .await;
    }
    let state = turns.lock_queues();
    let left: usize = state.known.waiting.values().map(VecDeque::len).sum();
    assert!(left <= 1 && state.known.order.len() <= 1, "{left}");
}

#[test]
fn node_is_told_everything_ten_times_at_once_and_then_once_a_second() {
    let (turns, start) = (Turns::default(), Instant::now());
    let taken = |node, now| {
        let asked = (0..100).map(|_| turns.take_full_map(node, now));
        asked.filter(Result::is_ok).count()
    };
    assert_eq!(taken(node_id(1), start), 10);
    assert_eq!(taken(node_id(2), start), 10, "another node's are its own");
    assert_eq!(taken(node_id(1), start + Duration::from_secs(3)), 3);
    let refused = turns.take_full_map(node_id(1), start + Duration::from_secs(3));
    let refused = refused.expect_err("too often");
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.wait(), Duration::from_secs(1));
}
