//! Access tests (policy reference section 20.1).

use super::{Place, World};
use crate::{
    internet,
    policy::{Reach, Rule, Service},
    protocol,
    section::access_tests::AccessTest,
    selector::Selector,
};

/// The protocols a test without one is satisfied by: TCP and UDP.
const EITHER: [u8; 2] = [6, 17];
/// The protocols of a rule without one.
const DEFAULT: [u8; 4] = [1, 6, 17, 58];

/// Returns why a test fails; empty when it passes.
pub(super) fn failures(world: World<'_>, test: &AccessTest) -> Vec<String> {
    if test.accept.is_empty() && test.deny.is_empty() {
        return vec![format!(
            "the test of \"{}\" neither accepts nor denies anything",
            test.source
        )];
    }
    let protocols = match protocols(test.protocol.as_deref()) {
        Ok(protocols) => protocols,
        Err(why) => return vec![why],
    };
    let sources = world.places(&test.source);
    if sources.is_empty() {
        return vec![format!("src \"{}\" is nobody", test.source)];
    }
    let mut failures = Vec::new();
    for (texts, wanted) in [(&test.accept, true), (&test.deny, false)] {
        for text in texts {
            let said = if wanted { "accept" } else { "deny" };
            match destination(world, text) {
                Err(why) => failures.push(format!("{said} \"{text}\": {why}")),
                Ok((places, port)) => {
                    if allows(world, test, &sources, &places, port, &protocols) != wanted {
                        let fact = if wanted { "can not reach" } else { "can reach" };
                        failures.push(format!("\"{}\" {fact} \"{text}\"", test.source));
                    }
                }
            }
        }
    }
    failures
}

fn protocols(text: Option<&str>) -> Result<Vec<u8>, String> {
    let Some(text) = text else {
        return Ok(EITHER.to_vec());
    };
    let number = protocol::parse(text)?;
    if protocol::has_ports(number) {
        Ok(vec![number])
    } else {
        Err(format!(
            "proto \"{text}\": only tcp, udp and sctp can be tested"
        ))
    }
}

/// Reads `selector:port`.
fn destination<'w>(world: World<'w>, text: &str) -> Result<(Vec<Place<'w>>, u16), String> {
    let (selector, port) = text.rsplit_once(':').ok_or("the port is missing")?;
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|port| digits && *port != 0);
    let port: u16 = port.ok_or("a test names one port from 1 to 65535")?;
    let selector = selector
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(selector);
    let places = world.places(selector);
    if places.is_empty() {
        return Err("the destination is no node and no single address".to_owned());
    }
    Ok((places, port))
}

/// Says whether every source reaches some address of the destination.
fn allows(
    world: World<'_>,
    test: &AccessTest,
    sources: &[Place<'_>],
    destinations: &[Place<'_>],
    port: u16,
    protocols: &[u8],
) -> bool {
    let has_port = |service: &Service| {
        let numbers = service
            .protocol
            .map_or_else(|| DEFAULT.to_vec(), |number| vec![number]);
        numbers.iter().any(|number| protocols.contains(number))
            && service
                .ports
                .iter()
                .any(|ports| ports.first <= port && port <= ports.last)
    };
    let rules: Vec<_> = world
        .policy
        .rules
        .iter()
        .filter(|rule| rule.services.iter().any(has_port))
        .collect();
    sources.iter().all(|source| {
        rules.iter().any(|rule| {
            let is_source = |party| world.has(party, *source, test.attributes.as_ref());
            rule.sources.iter().any(is_source)
                && destinations
                    .iter()
                    .any(|to| reaches(world, rule, *source, *to))
        })
    })
}

/// Says whether a destination of a rule has an address, for a source that the rule has.
pub(crate) fn reaches(world: World<'_>, rule: &Rule, from: Place<'_>, to: Place<'_>) -> bool {
    match rule.reach {
        Reach::Named => rule.destinations.iter().any(|party| match &party.selector {
            Selector::Any => true,
            Selector::Internet => internet::is_public(&to.address.into()),
            _ => world.has(party, to, None),
        }),
        Reach::Own | Reach::OwnReversed => {
            let owner = |place: Place<'_>| {
                place
                    .node
                    .and_then(|node| world.owner(node))
                    .map(|user| user.id)
            };
            owner(from).is_some() && owner(from) == owner(to)
        }
    }
}
