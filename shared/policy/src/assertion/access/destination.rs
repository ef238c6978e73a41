//! The destinations of an access test.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    super::{
        budget::{ADDRESS_STEPS, Budget, Exhausted},
        device::{TestAddress, TestDevice},
    },
    AccessJudge,
};
use crate::{
    compile::PlannedRule,
    internet, protocol,
    section::acl::{lacks_ports, missing_ports},
};

/// What rules can tell of a destination.
#[derive(Debug, Default)]
pub(super) struct TestDestination {
    /// Whether there is an address at all.
    pub(super) has_address: bool,
    /// The selectors that select it, ascending.
    selectors: Vec<u32>,
    /// Those that select addresses which no node has, ascending: chosen routers lead there, and to no node.
    selectors_behind_routers: Vec<u32>,
    /// Whether one of its addresses is public.
    is_public: bool,
    /// Whether one of its addresses is public and no node has it.
    is_public_outside: bool,
    pub(super) owners: BTreeSet<u64>,
}

impl AccessJudge<'_> {
    /// Returns what rules can tell of a destination with some addresses.
    pub(super) fn describe_destination<'d>(
        &self,
        addresses: impl IntoIterator<Item = TestAddress<'d>>,
        budget: &mut Budget,
    ) -> Result<TestDestination, Exhausted> {
        let table = &self.plan.selectors;
        let mut destination = TestDestination::default();
        for TestAddress { address, device } in addresses {
            let is_public = internet::is_public(&address.into());
            destination.has_address = true;
            destination.is_public |= is_public;
            let mut selectors: Vec<_> = table.ranges_with_address(address).collect();
            match device {
                Some(TestDevice { node, owner }) => {
                    let attributes = &node.attributes;
                    selectors.extend(table.identity_selectors(node, owner, attributes));
                    destination.owners.extend(owner.map(|user| user.id));
                }
                None => {
                    destination.is_public_outside |= is_public;
                    let behind = &mut destination.selectors_behind_routers;
                    behind.extend(&selectors);
                }
            }
            budget.spend(selectors.len() + ADDRESS_STEPS)?;
            destination.selectors.extend(selectors);
        }
        let TestDestination {
            selectors,
            selectors_behind_routers,
            ..
        } = &mut destination;
        for ascending in [selectors, selectors_behind_routers] {
            ascending.sort_unstable();
            ascending.dedup();
        }
        Ok(destination)
    }

    /// Keeps a destination for later tests that name the same.
    pub(super) fn cache_destination(
        &mut self,
        selector: &str,
        destination: TestDestination,
    ) -> Arc<TestDestination> {
        let destination = Arc::new(destination);
        self.cached_parts += destination.selectors.len() + destination.owners.len() + 1;
        self.bound_cache();
        self.cached_destinations
            .insert(selector.to_owned(), Arc::clone(&destination));
        destination
    }
}

impl TestDestination {
    /// Says whether a rule that names its destinations names some of this one.
    pub(super) fn is_reached_by(&self, rule: &PlannedRule) -> bool {
        let has_via = rule.via_id != 0;
        let (selectors, is_public) = if has_via {
            (&self.selectors_behind_routers, self.is_public_outside)
        } else {
            (&self.selectors, self.is_public)
        };
        let mut named = rule.destinations.iter();
        (rule.to_any && !has_via)
            || (rule.to_internet && is_public)
            || named.any(|selector| selectors.binary_search(selector).is_ok())
    }
}

/// Reads `selector:port`. The port is `None` for protocols without ports, where the test says 0.
pub(super) fn parse_destination<'t>(
    text: &'t str,
    protocols: &[u8],
) -> Result<(&'t str, Option<u16>), String> {
    if lacks_ports(text) {
        return Err(format!("ports are missing: {}", missing_ports(text)));
    }
    let (selector, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let is_decimal = port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse::<u16>().ok().filter(|_| is_decimal);
    let has_ports = protocols.iter().any(|number| protocol::has_ports(*number));
    let port = match (has_ports, number) {
        (false, Some(0)) => None,
        (false, _) => {
            return Err(format!(
                "this protocol has no ports: write \"{selector}:0\""
            ));
        }
        (true, Some(1..)) => number,
        (true, _) => return Err("a test names one port from 1 to 65535".to_owned()),
    };
    let in_brackets = selector
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    Ok((in_brackets.unwrap_or(selector), port))
}
