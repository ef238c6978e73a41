//! Routes: prefixes in one spelling, and which node is the active router of each.

use std::collections::{BTreeMap, BTreeSet};

use bowline_proto::key_registry::v1::Node;
use ipnet::IpNet;

use crate::error::RegistryError;

/// The most routes of one node.
const MOST: usize = 1000;
/// The two routes of an exit node: every exit node keeps them, none is primary.
const EXIT: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// Returns prefixes without host bits, sorted and without repetition, or what is wrong with them.
pub fn canonical(routes: &[String]) -> Result<Vec<String>, RegistryError> {
    if routes.len() > MOST {
        return Err(RegistryError::invalid(
            "routes",
            format!("are more than {MOST}"),
        ));
    }
    let prefixes = routes.iter().map(|route| {
        route
            .parse::<IpNet>()
            .map(|prefix| prefix.trunc().to_string())
            .map_err(|_| {
                let problem = format!(
                    "\"{}\" is no prefix such as 10.0.0.0/8",
                    route.escape_debug()
                );
                RegistryError::invalid("routes", problem)
            })
    });
    Ok(prefixes
        .collect::<Result<BTreeSet<_>, _>>()?
        .into_iter()
        .collect())
}

/// Returns what a client offers, without what is no prefix: a client can not be told why.
pub fn tolerant(routes: &[String]) -> Vec<String> {
    let prefixes = routes
        .iter()
        .take(MOST)
        .filter_map(|route| route.parse::<IpNet>().ok());
    prefixes
        .map(|prefix| prefix.trunc().to_string())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// Says whether a route needs a primary router.
fn is_subnet(route: &str) -> bool {
    !EXIT.contains(&route)
}

/// Returns the subnet routes that work: advertised and approved.
pub fn usable(node: &Node) -> impl Iterator<Item = &String> {
    node.advertised_routes
        .iter()
        .filter(|route| node.approved_routes.contains(route) && is_subnet(route))
}

/// A router as the election sees it.
#[derive(Clone, Debug)]
pub struct Router {
    /// The node.
    pub node: Node,
    /// Whether it is online.
    pub online: bool,
}

/// Returns the nodes whose primary routes change, with their new ones: the current router is kept while it is
/// online, else the online one with the lowest number, else nobody moves.
pub fn elect(routers: &[Router]) -> Vec<Node> {
    let mut primaries: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let routes: BTreeSet<_> = routers
        .iter()
        .flat_map(|router| usable(&router.node))
        .collect();
    for route in routes {
        let able: Vec<_> = routers
            .iter()
            .filter(|router| usable(&router.node).any(|usable| usable == route))
            .filter(|router| router.node.approved && !router.node.expired)
            .collect();
        let current = able
            .iter()
            .find(|router| router.node.primary_routes.contains(route));
        let lowest = able
            .iter()
            .filter(|router| router.online)
            .min_by_key(|router| router.node.id);
        let primary = match (current, lowest) {
            (Some(current), _) if current.online => Some(current),
            (current, lowest) => lowest.or(current).or(able.first()),
        };
        if let Some(primary) = primary {
            primaries
                .entry(primary.node.id)
                .or_default()
                .push(route.clone());
        }
    }
    routers
        .iter()
        .filter_map(|router| {
            let now = primaries.remove(&router.node.id).unwrap_or_default();
            (now != router.node.primary_routes).then(|| Node {
                primary_routes: now,
                ..router.node.clone()
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
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
        elect(routers)
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
    fn prefixes_lose_host_bits_and_nonsense_is_named() {
        let routes =
            |texts: &[&str]| canonical(&texts.iter().map(|&t| t.to_owned()).collect::<Vec<_>>());
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
}
