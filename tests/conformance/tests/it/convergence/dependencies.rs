//! What of a message depends on what of a tailnet, one by one: the rows of the table in `shared/netmap/src/difference.rs`.

use bowline_netmap::FilterSources;

use super::{client::first_difference, step::Step, tailnet::TestTailnet};

/// Something in a viewer's message that a change makes another.
struct Dependency {
    /// What of the message, and on what it depends.
    what: &'static str,
    /// Who is told.
    viewer: u64,
    /// Where it stands in what the viewer knows: the beginning of the place.
    place: &'static str,
    /// The policy.
    policy: &'static str,
    /// What changes.
    change: Step,
}

const ALLOW_ALL: &str = "";
const WEB: &str = r#"{"tagOwners": {"tag:web": [], "tag:r1": []}, "acls": [
    {"action": "accept", "src": ["tag:web", "autogroup:admin"], "dst": ["u1@a.test:22"]},
    {"action": "accept", "src": ["u1@a.test"], "dst": ["tag:web:80", "10.0.0.0/8:*"]}]}"#;
const SELF: &str =
    r#"{"acls": [{"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self:*"]}]}"#;
const SSH: &str = r#"{"tagOwners": {"tag:web": []}, "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}],
    "ssh": [{"action": "accept", "src": ["tag:web", "u1@a.test"], "dst": ["tag:web"], "users": ["root"]}]}"#;
const ATTRIBUTES: &str = r#"{"tagOwners": {"tag:web": []}, "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}],
    "nodeAttrs": [{"target": ["tag:web"], "attr": ["disable-ipv4"]}, {"target": ["tag:web"], "attr": ["nextdns:x"]}]}"#;
const VIA: &str = r#"{"tagOwners": {"tag:r1": [], "tag:r2": []}, "grants": [
    {"src": ["u1@a.test"], "dst": ["10.0.0.0/8"], "ip": ["*"], "via": ["tag:r1"]}]}"#;
const TO_ONE: &str =
    r#"{"acls": [{"action": "accept", "src": ["u2@a.test"], "dst": ["u1@a.test:22"]}]}"#;
const TO_TWO: &str =
    r#"{"acls": [{"action": "accept", "src": ["u1@a.test"], "dst": ["u2@a.test:22"]}]}"#;

fn node(id: u64, user: u64, tags: &[&str], routes: &[&str]) -> Step {
    let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    Step::Node {
        id,
        user,
        tags: owned(tags),
        routes: owned(routes),
        expired: false,
        approved: true,
        disabled: false,
    }
}

/// Nodes 1 and 131 are of user 1, node 2 of user 2, node 130 is tagged and node 131 has a route.
fn nodes() -> [Step; 4] {
    [
        node(1, 1, &[], &[]),
        node(2, 2, &[], &[]),
        node(130, 3, &["tag:web"], &[]),
        node(131, 1, &[], &["10.1.0.0/24"]),
    ]
}

fn user(id: u64, admin: bool, named: bool) -> Step {
    Step::User {
        id,
        admin,
        suspended: false,
        named,
    }
}

fn on(
    what: &'static str,
    viewer: u64,
    place: &'static str,
    policy: &'static str,
    change: Step,
) -> Dependency {
    Dependency {
        what,
        viewer,
        place,
        policy,
        change,
    }
}

/// What depends on the tailnet's settings and on the viewer's own node.
fn dependencies_on_the_own_node() -> Vec<Dependency> {
    vec![
        on(
            "the own node, on its tags",
            2,
            " own Tags",
            ALLOW_ALL,
            node(2, 2, &["tag:web"], &[]),
        ),
        on(
            "the own node, on its routes",
            2,
            " own AllowedIPs",
            ALLOW_ALL,
            node(2, 2, &[], &["10.0.0.0/16"]),
        ),
        on(
            "the own node, on the expiry of its key",
            2,
            " own",
            ALLOW_ALL,
            expired(2, 2),
        ),
        on(
            "SSH rules, on the node's tags",
            2,
            " ssh",
            SSH,
            node(2, 2, &["tag:web"], &[]),
        ),
        on(
            "all peers, on the node's user",
            131,
            " peers",
            SELF,
            node(131, 2, &[], &["10.1.0.0/24"]),
        ),
        on(
            "all peers, on the node's tags",
            2,
            " peers",
            WEB,
            node(2, 2, &["tag:web"], &[]),
        ),
        on(
            "the filter, on the node's tags",
            2,
            " filters",
            WEB,
            node(2, 2, &["tag:web"], &[]),
        ),
        on(
            "the filter, on the node's user",
            2,
            " filters",
            WEB,
            node(2, 1, &[], &[]),
        ),
    ]
}

/// What depends on peers and their users.
fn dependencies_on_peers() -> Vec<Dependency> {
    vec![
        on(
            "a peer, on whether it is there",
            1,
            " peers 2",
            ALLOW_ALL,
            Step::Delete(2),
        ),
        on(
            "a peer, on whether it is online",
            1,
            " peers 2 Online",
            ALLOW_ALL,
            Step::Online {
                id: 2,
                online: true,
            },
        ),
        on(
            "a peer, on its endpoints",
            1,
            " peers 2 Endpoints",
            ALLOW_ALL,
            Step::Report { id: 2, derp: 1 },
        ),
        on(
            "a peer, on its tags",
            1,
            " peers 2 Tags",
            ALLOW_ALL,
            node(2, 2, &["tag:web"], &[]),
        ),
        on(
            "a peer, on the expiry of its key",
            1,
            " peers 2",
            ALLOW_ALL,
            expired(2, 2),
        ),
        on(
            "a profile, on the peer's user",
            1,
            " profiles",
            ALLOW_ALL,
            node(2, 3, &[], &[]),
        ),
        on(
            "a profile, on the name of the user",
            1,
            " profiles 2",
            ALLOW_ALL,
            user(2, false, true),
        ),
        on(
            "a router, on its routes",
            1,
            " peers 131 AllowedIPs",
            ALLOW_ALL,
            node(131, 1, &[], &["10.0.0.0/16"]),
        ),
    ]
}

/// What depends on who is in a source list.
fn dependencies_on_filters() -> Vec<Dependency> {
    vec![
        on(
            "a source list, on an address that came",
            1,
            " filters",
            WEB,
            node(300, 3, &["tag:web"], &[]),
        ),
        on(
            "a source list, on an address that went",
            1,
            " filters",
            WEB,
            Step::Delete(130),
        ),
        on(
            "a source list, on the role of a user",
            1,
            " filters",
            WEB,
            user(2, true, false),
        ),
        on(
            "SSH rules, on an address in their source list",
            130,
            " ssh",
            SSH,
            node(300, 1, &[], &[]),
        ),
    ]
}

/// What depends on the policy.
fn dependencies_on_the_policy() -> Vec<Dependency> {
    vec![
        on(
            "DNS settings, on those of the tailnet",
            1,
            " dns",
            ALLOW_ALL,
            Step::Tailnet { magic_dns: true },
        ),
        on(
            "the filter, on the rules that all nodes have",
            1,
            " filters",
            ALLOW_ALL,
            Step::Policy(SELF),
        ),
        on(
            "all peers, on what the class sees, of the same selectors",
            2,
            " filters",
            TO_ONE,
            Step::Policy(TO_TWO),
        ),
        on(
            "the own node, on settings of the policy",
            130,
            " own",
            ALLOW_ALL,
            Step::Policy(ATTRIBUTES),
        ),
        on(
            "all peers, on whether the node has IPv4",
            130,
            " peers",
            ALLOW_ALL,
            Step::Policy(ATTRIBUTES),
        ),
        on(
            "a peer, on settings of the policy for it",
            1,
            " peers 130",
            ALLOW_ALL,
            Step::Policy(ATTRIBUTES),
        ),
        on(
            "a router, on whether the policy lets the viewer use the route",
            1,
            " peers 131",
            WEB,
            Step::Policy(SELF),
        ),
        on(
            "a chosen router, on its tags",
            1,
            " peers",
            VIA,
            node(131, 3, &["tag:r1"], &["10.1.0.0/24"]),
        ),
    ]
}

fn expired(id: u64, user: u64) -> Step {
    match node(id, user, &[], &[]) {
        Step::Node {
            id,
            user,
            tags,
            routes,
            approved,
            ..
        } => Step::Node {
            id,
            user,
            tags,
            routes,
            approved,
            disabled: false,
            expired: true,
        },
        other => other,
    }
}

/// Lets the change happen. Returns whether it made something else of the place, and what the viewer was told late of.
fn try_dependency(dependency: &Dependency, sources: FilterSources) -> (bool, Option<String>) {
    let viewer = dependency.viewer;
    let mut tailnet = TestTailnet::new(sources);
    let before = nodes().into_iter().chain([Step::Policy(dependency.policy)]);
    for step in before.chain([Step::CompiledPolicy, Step::Look]) {
        tailnet.step(step);
    }
    let before = tailnet.new_client(viewer).known();
    for step in [dependency.change.clone(), Step::CompiledPolicy, Step::Look] {
        tailnet.step(step);
    }
    let now = tailnet.new_client(viewer).known();
    let is_shown = is_different_at(dependency.place, &before, &now);
    (is_shown, tailnet.told_late(viewer))
}

/// Says whether something differs at a place or below it.
fn is_different_at(place: &str, before: &serde_json::Value, now: &serde_json::Value) -> bool {
    let mut at = (before, now);
    for name in place.split_whitespace() {
        at = (&at.0[name], &at.1[name]);
    }
    first_difference(at.0, at.1).is_some()
}

/// Goes through dependencies and says what is wrong with any.
#[track_caller]
fn check(dependencies: &[Dependency]) {
    let mut faults = Vec::new();
    for dependency in dependencies {
        let Dependency { what, place, .. } = dependency;
        // Where filters name capabilities, a node that comes or goes changes its peer instead.
        let tried = [FilterSources::Addresses, FilterSources::Capabilities]
            .map(|sources| try_dependency(dependency, sources));
        if !tried.iter().any(|(is_shown, _)| *is_shown) {
            faults.push(format!(
                "{what}: the case shows nothing, nothing at{place} changes"
            ));
        }
        let late = tried.into_iter().filter_map(|(_, late)| late);
        faults.extend(late.map(|late| format!("{what}: {late}")));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn what_depends_on_the_own_node_is_told() {
    check(&dependencies_on_the_own_node());
}

#[test]
fn what_depends_on_peers_is_told() {
    check(&dependencies_on_peers());
}

#[test]
fn what_depends_on_filters_is_told() {
    check(&dependencies_on_filters());
}

#[test]
fn what_depends_on_the_policy_is_told() {
    check(&dependencies_on_the_policy());
}
