use bowline_netmap::fixture::node_id;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn front() -> Arc<ListenerLimits> {
    ListenerLimits::new(100, Proxies::default(), false)
}

/// Returns how many requests of an address are taken at once.
fn taken(front: &ListenerLimits, address: &str, now: Instant) -> usize {
    let asks = 0..10_000;
    asks.take_while(|_| front.take_request(ip(address), now).is_ok())
        .count()
}

#[test]
fn strangers_of_one_source_and_of_the_network_around_it_ask_only_so_often() {
    let (front, now) = (front(), Instant::now());
    assert_eq!(taken(&front, "192.0.2.1", now), 1000);
    assert!((2..=5).all(|host| taken(&front, &format!("192.0.2.{host}"), now) <= 1000));
    assert_eq!(
        taken(&front, "192.0.2.6", now),
        0,
        "the network has had 4,000"
    );
    assert_eq!(taken(&front, "198.51.100.1", now), 1000);
    let of_subnets = (0..8).map(|subnet| taken(&front, &format!("2001:db8:0:{subnet}00::1"), now));
    assert_eq!(of_subnets.sum::<usize>(), 4000, "one /48");
}

#[test]
fn requests_of_those_who_are_known_cost_nothing() {
    let (front, now) = (front(), Instant::now());
    assert_eq!(taken(&front, "192.0.2.1", now), 1000);
    front.give_back_requests(ip("192.0.2.1"), 3);
    assert_eq!(taken(&front, "192.0.2.1", now), 3);
}

#[test]
fn strangers_leave_room_for_the_bodies_of_nodes_and_of_other_strangers() {
    let front = front();
    let mut held: Vec<_> = (0..64)
        .map(|host| front.body_share(ip(&format!("192.{host}.2.1")), None))
        .collect();
    assert!(
        held.iter_mut().all(|body| body.grow(512 << 10)),
        "64 networks hold everything"
    );
    assert!(!front.body_share(ip("198.51.100.1"), None).grow(1));
    let tailnet = TailnetId::try_from(1_u64).expect("a number");
    let owned = |owner: &str, node| Holder {
        owner: (tailnet, NodeOwner::Tag(owner.into())),
        node,
    };
    let node = |number| owned("a", number);
    let mut of_node = front.body_share(ip("198.51.100.1"), Some(node(node_id(1))));
    assert!(of_node.grow(1 << 20) && !of_node.grow(1));
    assert!(
        front
            .body_share(ip("198.51.100.1"), Some(node(node_id(2))))
            .grow(1 << 20)
    );
    // The nodes of one owner have half of what all nodes have.
    let mut fleet: Vec<_> = (2..33)
        .map(|number| front.body_share(ip("198.51.100.1"), Some(node(node_id(number)))))
        .collect();
    assert!(fleet.iter_mut().all(|body| body.grow(1 << 20)));
    assert!(
        !front
            .body_share(ip("198.51.100.1"), Some(node(node_id(99))))
            .grow(1)
    );
    let other = Some(owned("b", node_id(99)));
    assert!(front.body_share(ip("198.51.100.1"), other).grow(1 << 20));
    held.pop();
    assert!(front.body_share(ip("198.51.100.1"), None).grow(1));
    let mut subnets: Vec<_> = (0..2)
        .map(|subnet| front.body_share(ip(&format!("2001:db8:0:{subnet}::1")), None))
        .collect();
    drop(held);
    assert!(
        subnets[0].grow(512 << 10) && !subnets[1].grow(1),
        "one /48 is one source"
    );
}

#[tokio::test]
async fn whoever_is_turned_away_is_told_when_to_come_back() {
    let front = front();
    for (status, is_told) in [(503, true), (429, true), (404, false), (200, false)] {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        front.add_retry_after(&mut response, Duration::ZERO);
        let told = response.headers().get(header::RETRY_AFTER);
        assert_eq!(told.is_some(), is_told, "{status}");
        let seconds = told.map_or(1, |told| {
            told.to_str().expect("text").parse().expect("a number")
        });
        assert!((1..=5).contains(&seconds));
    }
}

#[test]
fn logs_name_addresses_without_what_is_secret_in_them() {
    for (path, name) in [
        ("/key", "key"),
        ("/ts2021", "ts2021"),
        ("/machine/register", "register"),
        ("/machine/4bf92f35", "register"),
        ("/machine/map", "map"),
        ("/machine/4bf92f35/map", "map"),
        ("/machine/alive/7", "alive"),
        ("/machine/ssh/action/1/to/2", "ssh"),
        ("/machine/update-health", "health"),
        ("/register/4bf92f35", "login"),
        ("/login/callback", "login"),
        ("/verify/secret", "verify"),
        ("/secret", "other"),
        ("", "other"),
    ] {
        assert_eq!(endpoint_name(path), name, "{path}");
    }
}
