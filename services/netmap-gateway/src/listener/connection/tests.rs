use bowline_ids::{NodeOwner, TailnetId};
use bowline_service_kit::{Shutdown, connection_slots::ConnectionSlot};
use futures_util::FutureExt as _;

use bowline_netmap::fixture::node_id;

use super::*;
use crate::listener::proxies::Proxies;

fn node(number: u64) -> Holder {
    Holder {
        owner: (
            TailnetId::try_from(1_u64).expect("a number"),
            NodeOwner::Tag("tag:fleet".into()),
        ),
        node: node_id(number),
    }
}

impl Connection {
    /// Returns the connection with a number that nobody is at the other end of.
    pub(crate) fn unconnected(shutdown: Shutdown, number: u64) -> Self {
        let source = SocketAddr::from(([192, 0, 2, 1], 1));
        let front = ListenerLimits::new(1000, Proxies::default(), true);
        let (connection, slot) = accepted(&front, source, shutdown, number);
        // Held for ever: nobody closes the socket.
        std::mem::forget(slot);
        connection
    }
}

fn accepted(
    front: &Arc<ListenerLimits>,
    source: SocketAddr,
    shutdown: Shutdown,
    number: u64,
) -> (Connection, ConnectionSlot<Holder>) {
    let open = tokio_util::task::TaskTracker::new().token();
    let slot = front.slots.take_slot(Some(source.ip()));
    let slot = slot.now_or_never().flatten().expect("a slot");
    let end = ConnectionEnd::new(shutdown, number, open);
    let connection = Connection::new(Arc::clone(front), source, slot.handle(), end);
    (connection, slot)
}

fn from(front: &Arc<ListenerLimits>, source: &str) -> (Connection, ConnectionSlot<Holder>) {
    let source = SocketAddr::new(source.parse().expect("an address"), 1);
    accepted(front, source, Shutdown::new(Duration::ZERO), 1)
}

#[tokio::test(start_paused = true)]
async fn connections_close_spread_over_the_drain_or_when_they_have_to() {
    let shutdown = Shutdown::new(Duration::from_secs(100));
    let connections: Vec<_> = (1..=20)
        .map(|number| Connection::unconnected(shutdown.clone(), number))
        .collect();
    let early = Connection::unconnected(shutdown.clone(), 21);
    early.close_soon();
    early.wait_for_drain_turn().await;
    shutdown.drain();
    let start = Instant::now();
    let mut turns = Vec::new();
    for connection in &connections {
        // Each wait counts from the start of the drain.
        let turn = async {
            connection.wait_for_drain_turn().await;
            start.elapsed().as_secs()
        };
        turns.push(turn);
    }
    let mut turns = futures_util::future::join_all(turns).await;
    turns.sort_unstable();
    assert!(turns[19] < 70, "the rest is for what is still to be sent");
    let widest = turns.windows(2).map(|two| two[1] - two[0]).max();
    assert!(widest.is_some_and(|gap| gap <= 10), "{turns:?}");
}

#[tokio::test(start_paused = true)]
async fn connection_is_known_while_a_stream_is_open_and_a_little_longer() {
    let connection = Connection::unconnected(Shutdown::new(Duration::ZERO), 1);
    let asked = CancellationToken::new();
    asked.cancel();
    let overstayed = connection.wait_until_overstayed(&asked);
    tokio::pin!(overstayed);
    connection.mark_known(node(1)).expect("it has asked little");
    let stream = connection.open_stream();
    let hour = tokio::time::sleep(Duration::from_secs(3600));
    tokio::select! {
        () = &mut overstayed => unreachable!("a stream is open"),
        () = hour => assert!(connection.holder().is_some()),
    }
    drop(stream);
    let start = Instant::now();
    let minutes = tokio::time::sleep(KNOWN_LIFETIME * 3);
    tokio::select! {
        () = &mut overstayed => unreachable!("a stranger has some time"),
        () = minutes => assert!(connection.holder().is_none()),
    }
    overstayed.await;
    assert!(start.elapsed() <= KNOWN_LIFETIME * 3 + STRANGER_LIFETIME);
}

#[tokio::test(start_paused = true)]
async fn stranger_has_few_requests_under_way_and_a_node_has_more() {
    let connection = Connection::unconnected(Shutdown::new(Duration::ZERO), 1);
    let mut held: Vec<_> = (0..connection.limits().requests_at_once)
        .map(|_| connection.begin_request().expect("one of few"))
        .collect();
    assert_eq!(
        connection.begin_request().err(),
        Some(RequestRefusal::UnderWay)
    );
    held.pop();
    held.push(connection.begin_request().expect("another has ended"));
    connection.mark_known(node(1)).expect("it has asked little");
    held.extend((0..80).map(|_| connection.begin_request().expect("a node's")));
}

#[tokio::test(start_paused = true)]
async fn requests_of_a_node_are_not_counted_as_a_strangers() {
    let front = ListenerLimits::new(1000, Proxies::default(), true);
    for _ in 0..5000 {
        let (connection, _slot) = from(&front, "192.0.2.1");
        drop(connection.begin_request().expect("the handshake"));
        drop(connection.begin_request().expect("the map"));
        connection.mark_known(node(1)).ok();
    }
    let (stranger, _slot) = from(&front, "192.0.2.1");
    let often = (0..5000).find_map(|_| stranger.begin_request().err());
    assert!(matches!(often, Some(RequestRefusal::Often(_))));
}

#[tokio::test(start_paused = true)]
async fn proxy_speaks_for_its_clients() {
    let proxies = Proxies {
        trusted: vec!["10.0.0.0/8".parse().expect("a network")],
        write_headers: false,
    };
    let front = ListenerLimits::new(1000, proxies, true);
    let headers: HeaderMap = [(
        "x-forwarded-for".parse().expect("a name"),
        "203.0.113.9, 192.0.2.7".parse().expect("a value"),
    )]
    .into_iter()
    .collect();
    let (of_proxy, _slot) = from(&front, "10.0.0.1");
    let request = of_proxy.of_request(&headers);
    assert_eq!(request.source().to_string(), "192.0.2.7");
    request.mark_known(node(1)).expect("it has asked little");
    assert!(request.holder().is_some() && of_proxy.holder().is_none());
    assert!(
        of_proxy.of_request(&headers).holder().is_none(),
        "the next is another's"
    );
    let upgraded = request.upgraded();
    assert_eq!(upgraded.source().to_string(), "192.0.2.7");
    upgraded.mark_known(node(1)).expect("it has asked little");
    assert!(upgraded.holder().is_some());
    let (client, _slot) = from(&front, "192.0.2.1");
    let of_client = client.of_request(&headers);
    assert_eq!(
        of_client.source().to_string(),
        "192.0.2.1",
        "anybody can write a header"
    );
}

#[tokio::test(start_paused = true)]
async fn node_asks_only_so_often_on_however_many_connections() {
    let front = ListenerLimits::new(1000, Proxies::default(), true);
    let mut asked = 0;
    let mut slots = Vec::new();
    // Each request on a connection of its own, which is a stranger's until the node is known.
    for _ in 0..60 {
        let (connection, slot) = from(&front, "192.0.2.1");
        slots.push(slot);
        connection.begin_request().expect("a stranger's");
        asked += u32::from(connection.mark_known(node(1)).is_ok());
    }
    let (connection, _slot) = from(&front, "192.0.2.2");
    connection.begin_request().expect("a stranger's");
    asked += u32::from(connection.mark_known(node(1)).is_ok());
    let refused = loop {
        match connection.begin_request() {
            Ok(_) => asked += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(asked, 100);
    assert!(matches!(refused, RequestRefusal::OftenOfNode(_)));
    let (late, _slot) = from(&front, "192.0.2.3");
    late.begin_request().expect("a stranger's");
    assert!(late.mark_known(node(1)).is_err());
    let (other, _slot) = from(&front, "192.0.2.1");
    other.begin_request().expect("a stranger's");
    assert!(
        other.mark_known(node(2)).is_ok(),
        "another node's are its own"
    );
    let RequestRefusal::OftenOfNode(wait) = refused else {
        panic!("{refused:?}")
    };
    assert!(wait <= Duration::from_millis(50), "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn node_that_finds_no_slot_is_served_as_a_stranger_until_there_is_one() {
    let front = ListenerLimits::new(16, Proxies::default(), true);
    let mut fleet = Vec::new();
    // One source has half of the slots.
    for number in 1..=8 {
        let (connection, slot) = from(&front, "192.0.2.1");
        connection
            .mark_known(node(number))
            .expect("it has asked little");
        assert!(connection.holder().is_some());
        fleet.push(slot);
    }
    let (late, _slot) = from(&front, "192.0.2.1");
    late.mark_known(node(9)).expect("it has asked little");
    assert!(late.holder().is_none());
    let _stream = late.open_stream();
    let asked = CancellationToken::new();
    asked.cancel();
    let overstayed = late.wait_until_overstayed(&asked);
    tokio::pin!(overstayed);
    for (wait, is_known) in [(STRANGER_LIFETIME * 2, false), (KNOWN_LIFETIME * 2, true)] {
        tokio::select! {
            () = &mut overstayed => unreachable!("its stream is open"),
            () = tokio::time::sleep(wait) => assert_eq!(late.holder().is_some(), is_known),
        }
        fleet.pop();
    }
}
