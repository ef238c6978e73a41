//! A Redis that goes away, hangs, or says nonsense.

use std::time::{Duration, Instant};

use bowline_bus::{Bus, Event, LogOwner};
use bowline_test_servers::{RedisSentinel, RedisServer};

use crate::proxy::Proxy;
use crate::support::{connected, hint, next, publish_until_heard};

const GAP: Event = Event::Gap(LogOwner::Identity);

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_redis_is_a_gap_and_hints_arrive_again() {
    let Some(mut server) = RedisServer::start().unwrap() else {
        return;
    };
    let bus = connected(&server.url()).await;
    let mut subscription = bus.subscribe(&[LogOwner::Identity]);
    for _ in 0..2 {
        server.kill9();
        bus.publish(LogOwner::Identity, hint(1, 1));
        server.restart().unwrap();
        assert_eq!(next(&mut subscription).await, GAP);
        let before = publish_until_heard(&bus, &mut subscription).await;
        assert!(before.iter().all(|event| *event == GAP), "{before:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_starts_before_its_redis() {
    let Some(mut server) = RedisServer::stopped().unwrap() else {
        return;
    };
    let bus = Bus::redis(&server.url()).await.unwrap();
    let mut subscription = bus.subscribe(&[LogOwner::Identity]);
    bus.publish(LogOwner::Identity, hint(1, 1));
    server.restart().unwrap();
    assert_eq!(next(&mut subscription).await, GAP);
    publish_until_heard(&bus, &mut subscription).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_is_noticed() {
    let Some(server) = RedisServer::start().unwrap() else {
        return;
    };
    let mut proxy = Proxy::start(server.address()).await;
    let bus = connected(&proxy.url).await;
    assert!(proxy.connected.recv().await.is_some());
    let mut subscription = bus.subscribe(&[LogOwner::Identity]);
    proxy.is_frozen.send_replace(true);
    // More than the queue takes: publishing does not wait for a server that does not read.
    let begin = Instant::now();
    for revision in 1..100_000 {
        bus.publish(LogOwner::Identity, hint(1, revision));
    }
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "{:?}",
        begin.elapsed()
    );
    // The silent connection is given up, though nothing closed it.
    assert!(proxy.connected.recv().await.is_some());
    proxy.is_frozen.send_replace(false);
    while next(&mut subscription).await != GAP {}
    publish_until_heard(&bus, &mut subscription).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn master_that_dies_is_followed_by_the_one_that_sentinels_name() {
    let Some(mut master) = RedisServer::start().unwrap() else {
        return;
    };
    let _copy = master.start_copy().unwrap();
    let sentinel = RedisSentinel::start(&master).unwrap();
    let [bus, other] = [
        connected(&sentinel.url()).await,
        connected(&sentinel.url()).await,
    ];
    let mut subscription = other.subscribe(&[LogOwner::Identity]);
    publish_until_heard(&bus, &mut subscription).await;
    // A copy is known to the sentinel once it has asked the master, every ten seconds at the latest.
    master.kill9();
    while next(&mut subscription).await != GAP {}
    publish_until_heard(&bus, &mut subscription).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_hint_is_ignored() {
    let Some(server) = RedisServer::start().unwrap() else {
        return;
    };
    let bus = connected(&server.url()).await;
    let mut subscription = bus.subscribe(&[LogOwner::Identity]);
    let client = redis::Client::open(server.url()).unwrap();
    let mut forger = client.get_multiplexed_async_connection().await.unwrap();
    let huge = "x".repeat(1 << 20);
    let forged = [
        "",
        "{}",
        "null",
        r#"{"tailnet":0,"revision":1,"soft_revision":0}"#,
        &huge,
    ];
    for text in forged {
        let mut publish = redis::cmd("PUBLISH");
        let heard: i64 = publish
            .arg("bowline:changes:identity")
            .arg(text)
            .query_async(&mut forger)
            .await
            .unwrap();
        assert_eq!(heard, 1);
    }
    bus.publish(LogOwner::Identity, hint(1, 9));
    assert_eq!(
        next(&mut subscription).await,
        Event::Hint(LogOwner::Identity, hint(1, 9))
    );
}

#[tokio::test]
async fn other_urls_are_refused() {
    for url in ["", "localhost", "http://localhost"] {
        assert!(Bus::redis(url).await.is_err(), "{url}");
    }
}
