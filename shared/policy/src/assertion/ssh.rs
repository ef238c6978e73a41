//! SSH tests (policy reference section 20.2).

use std::net::Ipv6Addr;

use super::{Place, World};
use crate::{inventory::Node, policy::SshRule, posture::Attributes, section::ssh_tests::SshTest};

/// What the first rule that matches says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Accept,
    Check,
    Refuse,
}

/// Returns why a test fails; empty when it passes.
pub(super) fn failures(world: World<'_>, test: &SshTest) -> Vec<String> {
    let lists = [
        ("accept", &test.accept),
        ("check", &test.check),
        ("deny", &test.deny),
    ];
    if lists.iter().all(|(_, users)| users.is_empty()) {
        return vec![format!("the SSH test of \"{}\" tests no user", test.source)];
    }
    let sources = nodes(&world.places(&test.source));
    if sources.is_empty() {
        return vec![format!("src \"{}\" has no node", test.source)];
    }
    let mut failures = Vec::new();
    for text in &test.destinations {
        if text.parse::<Ipv6Addr>().is_ok() {
            // The hosted service fails such a test; a policy shall mean the same here.
            failures.push(format!(
                "dst \"{text}\": name the node by its tag, host or IPv4 address"
            ));
            continue;
        }
        let destinations = nodes(&world.places(text));
        if destinations.is_empty() {
            failures.push(format!("dst \"{text}\" has no node"));
        }
        for (said, users) in lists {
            for user in users {
                let passes = |source: &&Node, destination: &&Node| {
                    let verdict =
                        verdict(world, test.attributes.as_ref(), source, destination, user);
                    match said {
                        "accept" => verdict == Verdict::Accept,
                        "check" => verdict == Verdict::Check,
                        _ => verdict == Verdict::Refuse,
                    }
                };
                let all = sources
                    .iter()
                    .all(|from| destinations.iter().all(|to| passes(from, to)));
                if user.is_empty() || !all {
                    failures.push(format!(
                        "{said} \"{user}\" for \"{}\" on \"{text}\"",
                        test.source
                    ));
                }
            }
        }
    }
    failures
}

fn nodes<'w>(places: &[Place<'w>]) -> Vec<&'w Node> {
    let mut nodes: Vec<_> = places.iter().filter_map(|place| place.node).collect();
    nodes.dedup_by_key(|node| node.id);
    nodes
}

/// Returns what a client says to a connection: checks come first, and the first rule that matches decides.
fn verdict(
    world: World<'_>,
    attributes: Option<&Attributes>,
    source: &Node,
    destination: &Node,
    account: &str,
) -> Verdict {
    let admits = |rule: &&SshRule| admits(world, attributes, rule, source, destination, account);
    let rules = &world.policy.ssh;
    let mut checks = rules.iter().filter(|rule| rule.check);
    let mut accepts = rules.iter().filter(|rule| !rule.check);
    if checks.any(|rule| admits(&rule)) {
        Verdict::Check
    } else if accepts.any(|rule| admits(&rule)) {
        Verdict::Accept
    } else {
        Verdict::Refuse
    }
}

fn admits(
    world: World<'_>,
    attributes: Option<&Attributes>,
    rule: &SshRule,
    source: &Node,
    destination: &Node,
    account: &str,
) -> bool {
    let place = World::places_of(source).next();
    let is_source = place.is_some_and(|place| {
        rule.sources
            .iter()
            .any(|party| world.has(party, place, attributes))
    });
    let owner = |node: &Node| world.owner(node).map(|user| user.id);
    let is_own = rule.to_own && owner(source).is_some() && owner(source) == owner(destination);
    let is_named = rule
        .destinations
        .iter()
        .any(|selector| world.selects(selector, destination));
    if !is_source || !(is_own || is_named) {
        return false;
    }
    let is_localpart = || {
        let login = world
            .owner(source)
            .and_then(|user| user.login_name.split_once('@'));
        login.is_some_and(|(local, domain)| {
            local == account
                && rule
                    .localparts
                    .iter()
                    .any(|wanted| wanted.eq_ignore_ascii_case(domain))
        })
    };
    rule.users.contains(account)
        || (rule.nonroot && account != "root")
        || (is_named && is_localpart())
}
