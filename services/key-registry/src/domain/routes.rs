//! Routes: prefixes in one spelling, and which node is the active router of each.

use std::collections::{BTreeMap, BTreeSet};

use bowline_proto::key_registry::v1::{Node, RouteList};
use ipnet::IpNet;

use crate::error::RegistryError;

/// The most routes of one node.
const MOST_ROUTES: usize = 1000;
/// The two routes of an exit node: every exit node keeps them, none is primary.
const EXIT_ROUTES: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// Returns prefixes without host bits, sorted and without repetition, or what is wrong with them.
pub fn canonical_routes(routes: &[String]) -> Result<Vec<String>, RegistryError> {
    if routes.len() > MOST_ROUTES {
        return Err(RegistryError::invalid(
            "routes",
            format!("are more than {MOST_ROUTES}"),
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

/// Returns the routes that a client offers. What is no prefix is left out, because there is no way to tell the client.
pub fn valid_routes(routes: &[String]) -> Vec<String> {
    let prefixes = routes
        .iter()
        .take(MOST_ROUTES)
        .filter_map(|route| route.parse::<IpNet>().ok());
    prefixes
        .map(|prefix| prefix.trunc().to_string())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// Returns approved routes with both exit routes where one is among them: clients take a node for an exit node only
/// with both.
pub fn with_both_exit_routes(mut routes: Vec<String>) -> Vec<String> {
    if routes.iter().any(|route| !is_subnet(route)) {
        routes.extend(EXIT_ROUTES.map(str::to_owned));
        routes.sort();
        routes.dedup();
    }
    routes
}

/// Approves exactly these routes of a node, offered or not, for an administrator.
pub fn approve_by_administrator(node: &mut Node, routes: Vec<String>) {
    node.administrator_routes = Some(RouteList {
        prefixes: routes.clone(),
    });
    node.approved_routes = routes;
}

/// Approves what the policy approves of the routes a node offers, beside what an administrator approved.
pub fn approve_by_policy(node: &mut Node, approved: &[String]) {
    let by_administrator = administrator_routes(node);
    let approved: BTreeSet<&String> = approved.iter().collect();
    let offered = node.advertised_routes.iter();
    let by_policy = offered.filter(|route| approved.contains(route)).cloned();
    let all: BTreeSet<String> = by_policy.chain(by_administrator.iter().cloned()).collect();
    node.approved_routes = all.into_iter().collect();
    node.administrator_routes = Some(RouteList {
        prefixes: by_administrator,
    });
}

/// Returns the routes an administrator approved. Where that was never kept apart, all that are approved count, unless
/// they are more than an administrator can approve: then those that are offered.
fn administrator_routes(node: &Node) -> Vec<String> {
    if let Some(routes) = &node.administrator_routes {
        return routes.prefixes.clone();
    }
    if node.approved_routes.len() <= MOST_ROUTES {
        return node.approved_routes.clone();
    }
    let offered: BTreeSet<&String> = node.advertised_routes.iter().collect();
    let both = node.approved_routes.iter();
    both.filter(|route| offered.contains(route))
        .take(MOST_ROUTES)
        .cloned()
        .collect()
}

/// Says whether a route needs a primary router.
fn is_subnet(route: &str) -> bool {
    !EXIT_ROUTES.contains(&route)
}

/// Returns the subnet routes that work: advertised and approved.
pub fn usable_subnets(node: &Node) -> impl Iterator<Item = &String> {
    node.usable_routes().filter(|route| is_subnet(route))
}

/// Says whether a change of a node can make another the primary of a route.
pub fn may_move_primaries(before: &Node, after: &Node) -> bool {
    let routed =
        |node: &Node| usable_subnets(node).next().is_some() || !node.primary_routes.is_empty();
    let differs = (&before.advertised_routes, &before.approved_routes)
        != (&after.advertised_routes, &after.approved_routes)
        || before.may_take_part(false) != after.may_take_part(false)
        || (before.user_id, before.goes_with_user()) != (after.user_id, after.goes_with_user());
    differs && (routed(before) || routed(after))
}

/// A router as the election sees it.
#[derive(Clone, Debug)]
pub struct Router {
    /// The node.
    pub node: Node,
    /// Whether it is online, and not cut off with its user.
    pub online: bool,
}

/// Who could be the primary of one route, by their places among the routers.
#[derive(Default)]
struct PrimaryCandidates {
    first: Option<usize>,
    current: Option<usize>,
    /// The online one with the lowest number.
    lowest: Option<usize>,
}

/// Returns the nodes whose primary routes change, with their new ones: the current router is kept while it is
/// online, else the online one with the lowest number, else nobody moves.
pub fn elect_primaries(routers: &[Router]) -> Vec<Node> {
    let mut candidates: BTreeMap<&String, PrimaryCandidates> = BTreeMap::new();
    for (place, router) in routers.iter().enumerate() {
        let node = &router.node;
        if !node.may_take_part(false) {
            continue;
        }
        let primary: BTreeSet<&String> = node.primary_routes.iter().collect();
        for route in usable_subnets(node) {
            let able = candidates.entry(route).or_default();
            able.first.get_or_insert(place);
            if primary.contains(route) {
                able.current.get_or_insert(place);
            }
            let is_lower = |lowest: usize| node.id < routers[lowest].node.id;
            if router.online && able.lowest.is_none_or(is_lower) {
                able.lowest = Some(place);
            }
        }
    }
    let mut primaries: Vec<Vec<String>> = vec![Vec::new(); routers.len()];
    for (route, able) in candidates {
        let kept = able.current.filter(|&current| routers[current].online);
        let primary = kept.or(able.lowest).or(able.current).or(able.first);
        if let Some(primary) = primary {
            primaries[primary].push(route.clone());
        }
    }
    routers
        .iter()
        .zip(primaries)
        .filter(|(router, primaries)| router.node.primary_routes != *primaries)
        .map(|(router, primary_routes)| Node {
            primary_routes,
            ..router.node.clone()
        })
        .collect()
}

#[cfg(test)]
mod tests;
