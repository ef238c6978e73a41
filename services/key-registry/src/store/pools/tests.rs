use bowline_proto::key_registry::v1::Node;
use bowline_test_servers::on_both;

use super::*;
use crate::{
    domain::address_pool::wanted_ranges,
    store::nodes,
    sweeper::tests::{TAILNET, TestRegistry, node},
};

on_both!(TestRegistry::start =>
    first_address_behind_those_in_use_is_found,
    pool_that_was_given_out_once_is_given_out_again,
    address_is_found_however_large_the_pool_is,
    moved_pool_gives_no_ipv6_address_again,
);

async fn put_at(registry: &TestRegistry, addresses: &[&str]) {
    for (id, ipv4) in (1..).zip(addresses) {
        let ipv4 = (*ipv4).to_owned();
        let ipv6 = format!("fd7a::{id}");
        let at = Node {
            ipv4,
            ipv6,
            ..node(id)
        };
        registry.put(at).await;
    }
}

async fn find(
    registry: &TestRegistry,
    pool: AddressPool,
    ranges: impl IntoIterator<Item = AddressRange>,
) -> Option<String> {
    let database = registry.log.database();
    let mut on = database.reader().acquire().await.unwrap();
    let found = find_pair(&mut on, TAILNET, pool, ranges).await.unwrap();
    found.map(|pair| pair.ipv4.to_string())
}

fn pool(ipv4: &str) -> AddressPool {
    AddressPool::parse(ipv4, "fd7a:115c:a1e0::/64").unwrap()
}

fn wanted(prefixes: &[&str], last_given: Option<&str>) -> Vec<AddressRange> {
    let prefixes: Vec<_> = prefixes.iter().map(|one| one.parse().unwrap()).collect();
    wanted_ranges(&prefixes, last_given.map(|one| one.parse().unwrap()))
}

async fn first_address_behind_those_in_use_is_found(registry: TestRegistry) {
    let used = ["100.81.0.254", "100.81.0.255", "100.81.1.0", "100.81.1.2"];
    put_at(&registry, &used).await;
    let pool = pool("100.64.0.0/24");
    for (prefixes, last_given, expected) in [
        (&["100.81.0.0/16"][..], None, Some("100.81.0.0")),
        (&["100.81.0.0/16"], Some("100.81.0.253"), Some("100.81.1.1")),
        (&["100.81.0.0/16"], Some("100.81.1.1"), Some("100.81.1.3")),
        (&["100.81.0.254/31"], None, None),
        (
            &["100.81.0.254/31", "100.81.1.0/30"],
            None,
            Some("100.81.1.1"),
        ),
        (&["100.81.1.0/30"], Some("100.81.1.1"), Some("100.81.1.3")),
        (&["100.81.1.0/30"], Some("100.81.1.3"), Some("100.81.1.1")),
        (&["100.100.100.0/24"], None, None),
        (
            &["100.100.100.254/31", "100.100.101.0/31"],
            None,
            Some("100.100.101.0"),
        ),
    ] {
        let found = find(&registry, pool, wanted(prefixes, last_given)).await;
        assert_eq!(found.as_deref(), expected, "{prefixes:?} {last_given:?}");
    }
}

/// Takes a pair for a node, and puts the node there.
async fn take(registry: &TestRegistry, pool: AddressPool, id: u64) -> Option<String> {
    let taking = registry.log.database().write(move |write| {
        Box::pin(async move { take_pair(write.connection(), TAILNET, pool).await })
    });
    let AddressPair { ipv4, ipv6 } = taking.await.ok()?;
    let (ipv4, ipv6) = (ipv4.to_string(), ipv6.to_string());
    let at = Node {
        ipv6,
        ipv4: ipv4.clone(),
        ..node(id)
    };
    registry.put(at).await;
    Some(ipv4)
}

async fn pool_that_was_given_out_once_is_given_out_again(registry: TestRegistry) {
    let pool = pool("100.64.0.0/29");
    put_at(&registry, &["100.64.0.1", "100.64.0.3"]).await;
    for (id, expected) in (10..).zip(["2", "4", "5", "6"]) {
        let taken = take(&registry, pool, id).await;
        assert_eq!(taken, Some(format!("100.64.0.{expected}")));
    }
    assert_eq!(take(&registry, pool, 20).await, None);
    // Those at 1, 2 and 3: it goes on from where it was.
    for id in [1, 10, 2] {
        let deleting = registry.log.database().write(move |write| {
            Box::pin(async move { nodes::delete_node(write.connection(), id).await })
        });
        deleting.await.unwrap();
        if id == 1 {
            let taken = take(&registry, pool, 21).await;
            assert_eq!(taken.as_deref(), Some("100.64.0.1"));
        }
    }
    for (id, expected) in (30..).zip(["2", "3"]) {
        let taken = take(&registry, pool, id).await;
        assert_eq!(taken, Some(format!("100.64.0.{expected}")));
    }
}

async fn address_is_found_however_large_the_pool_is(registry: TestRegistry) {
    put_at(&registry, &["1.0.0.0"]).await;
    // More than a database could look through in the time of a test.
    let found = find(
        &registry,
        pool("100.64.0.0/24"),
        wanted(&["0.0.0.0/0"], Some("0.255.255.255")),
    );
    assert_eq!(found.await.as_deref(), Some("1.0.0.1"));
}

async fn moved_pool_gives_no_ipv6_address_again(registry: TestRegistry) {
    // It has the first two places of the tailnet's IPv6 pool.
    for id in [1, 2] {
        registry.put(node(id)).await;
    }
    let moved = pool("100.65.0.0/29");
    let found = find(&registry, moved, moved.ranges_from(1)).await;
    assert_eq!(found.as_deref(), Some("100.65.0.3"));
    let found = find(&registry, moved, wanted(&["100.65.0.0/29"], None)).await;
    assert_eq!(found.as_deref(), Some("100.65.0.0"));
}
