use super::*;

fn router(id: u64, online: bool, primary: bool) -> Router {
    let routes = vec!["10.0.0.0/8".to_owned(), "0.0.0.0/0".to_owned()];
    let node = Node {
        id,
        approved: true,
        advertised_routes: routes.clone(),
        approved_routes: routes.clone(),
        primary_routes: if primary {
            vec![routes[0].clone()]
        } else {
            Vec::new()
        },
        ..Node::default()
    };
    Router { node, online }
}

fn elected(routers: &[Router]) -> Vec<(u64, usize)> {
    elect_primaries(routers)
        .iter()
        .map(|node| (node.id, node.primary_routes.len()))
        .collect()
}

#[test]
fn lowest_online_router_becomes_primary_and_stays_it() {
    assert_eq!(
        elected(&[router(2, true, false), router(3, true, false)]),
        [(2, 1)]
    );
    assert_eq!(
        elected(&[router(2, true, false), router(3, true, true)]),
        []
    );
    assert_eq!(
        elected(&[router(2, true, false), router(3, false, true)]),
        [(2, 1), (3, 0)]
    );
    assert_eq!(
        elected(&[router(2, false, false), router(3, false, true)]),
        []
    );
}

#[test]
fn election_of_many_routes_takes_time_in_proportion() {
    // Each of the routes has every router; looking through all for each would be 10^10 comparisons.
    let routes: Vec<String> = (0..10_000_u32)
        .map(|number| format!("10.{}.{}.0/24", number / 256, number % 256))
        .collect();
    let routers: Vec<_> = (1..=10)
        .map(|id| Router {
            node: Node {
                advertised_routes: routes.clone(),
                approved_routes: routes.clone(),
                ..router(id, true, false).node
            },
            online: true,
        })
        .collect();
    assert_eq!(elected(&routers), [(1, 10_000)]);
}

#[test]
fn one_exit_route_stands_for_both() {
    let both = |routes: &[&str]| {
        with_both_exit_routes(routes.iter().map(|&route| route.to_owned()).collect())
    };
    assert_eq!(both(&["0.0.0.0/0"]), EXIT_ROUTES);
    assert_eq!(
        both(&["10.0.0.0/8", "::/0"]),
        ["0.0.0.0/0", "10.0.0.0/8", "::/0"]
    );
    assert_eq!(both(&["10.0.0.0/8"]), ["10.0.0.0/8"]);
}

#[test]
fn routes_approved_before_they_were_told_apart_stay_and_are_bounded() {
    let routes = |count: u32| -> Vec<String> {
        let route = |number| format!("10.{}.{}.0/24", number / 256, number % 256);
        (0..count).map(route).collect()
    };
    let mut node = Node {
        approved_routes: routes(3),
        advertised_routes: routes(1),
        ..Node::default()
    };
    approve_by_policy(&mut node, &[]);
    assert_eq!(node.approved_routes, routes(3));
    let mut grown = Node {
        approved_routes: routes(23_000),
        advertised_routes: routes(7),
        ..Node::default()
    };
    approve_by_policy(&mut grown, &[]);
    assert_eq!(grown.approved_routes.len(), 7);
}

#[test]
fn prefixes_lose_host_bits_and_nonsense_is_named() {
    let routes =
        |texts: &[&str]| canonical_routes(&texts.iter().map(|&t| t.to_owned()).collect::<Vec<_>>());
    assert_eq!(
        routes(&["10.1.2.3/8", "10.0.0.0/8"]).unwrap(),
        ["10.0.0.0/8"]
    );
    assert!(
        routes(&["10.0.0.0"])
            .unwrap_err()
            .to_string()
            .contains("10.0.0.0")
    );
}
