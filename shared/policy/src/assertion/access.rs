//! Access tests (policy section 20.1).
//!
//! Sources that no rule tells apart are judged once, and what does not depend on the source is worked out once for
//! each destination.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use bowline_ip_set::{IpRange, IpSet};

use super::{
    World,
    budget::{ADDRESS, Budget, Exhausted},
    device::{Device, MadeUpDevice, Place, Standings},
    named::Named,
};
use crate::{
    compile::{Plan, PlannedRule},
    internet,
    inventory::Node,
    policy::{Reach, Service},
    posture::Attributes,
    protocol,
    section::{
        access_tests::AccessTest,
        acl::{lacks_ports, missing_ports},
    },
    selector::Selector,
};

/// The protocols a test without one is satisfied by: TCP and UDP.
const EITHER: &[u8] = &[6, 17];
/// The protocols of a rule without one.
const DEFAULT: &[u8] = &[1, 6, 17, 58];
/// The most parts of sources and destinations that are kept for later tests that name the same.
const MOST_KEPT: usize = 200_000;

/// Runs access tests.
pub(super) struct Judge<'w> {
    world: &'w World<'w>,
    plan: Plan,
    /// By party, whether rules have it as a source.
    is_source: Vec<bool>,
    /// What `*` is as a source.
    inside: IpSet,
    known: HashMap<String, Arc<Sources>>,
    destinations: HashMap<String, Arc<Destination>>,
    kept: usize,
    /// Whether the test at hand names strangers.
    has_strangers: bool,
}

/// The sources of a test.
#[derive(Debug, Default)]
struct Sources {
    kinds: BTreeSet<Kind>,
    ranges: Vec<IpRange>,
    /// The devices that stand in for those that are not there.
    made_up: Vec<MadeUpDevice>,
}

/// An address as the sources of rules see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    parties: Vec<u32>,
    /// Whether `*` has it.
    is_inside: bool,
    owner: Option<u64>,
}

/// Some destination as rules see it.
#[derive(Debug, Default)]
struct Destination {
    /// Whether it has an address.
    is_there: bool,
    /// Ascending.
    parties: Vec<u32>,
    /// Those that addresses without a node have: chosen routers lead there.
    behind_routers: Vec<u32>,
    is_public: bool,
    is_public_outside: bool,
    owners: BTreeSet<u64>,
}

/// Who gets through.
#[derive(Debug, Default)]
struct Admitted {
    everyone: bool,
    inside: bool,
    parties: BTreeSet<u32>,
    /// Sources of rules to own devices.
    own_inside: bool,
    own_parties: BTreeSet<u32>,
    ranges: Vec<IpRange>,
}

impl<'w> Judge<'w> {
    pub(super) fn new(world: &'w World<'w>) -> Self {
        let has_tests = !world.policy.tests.is_empty();
        let plan = if has_tests {
            Plan::new(world.policy)
        } else {
            Plan::default()
        };
        let mut is_source = vec![false; plan.parties.ids.len()];
        for party in plan.rules.iter().flat_map(|rule| rule.sources.iter()) {
            is_source[*party as usize] = true;
        }
        let known = internet::ANY.iter().filter_map(|text| text.parse().ok());
        let routes = world.nodes.values().flat_map(Node::subnet_routes);
        Self {
            world,
            plan,
            is_source,
            inside: known
                .chain(routes.map(|route| IpRange::from(*route)))
                .collect(),
            known: HashMap::new(),
            destinations: HashMap::new(),
            kept: 0,
            has_strangers: false,
        }
    }

    /// Returns why a test fails; empty when it passes.
    pub(super) fn failures(
        &mut self,
        test: &AccessTest,
        budget: &mut Budget,
    ) -> Result<Vec<String>, Exhausted> {
        if test.accept.is_empty() && test.deny.is_empty() {
            if test.leaves_out {
                return Ok(Vec::new());
            }
            return Ok(vec![format!(
                "the test of \"{}\" neither accepts nor denies anything",
                test.source
            )]);
        }
        let protocols = match protocols(test.protocol.as_deref()) {
            Ok(protocols) => protocols,
            Err(why) => return Ok(vec![why]),
        };
        let mut first = None;
        for standings in Standings::all() {
            self.has_strangers = false;
            let failures = self.failures_as(test, &protocols, standings, budget)?;
            if failures.is_empty() || !self.has_strangers {
                return Ok(failures);
            }
            first.get_or_insert(failures);
        }
        Ok(first.unwrap_or_default())
    }

    /// Returns why a test fails where strangers are of some standing.
    fn failures_as(
        &mut self,
        test: &AccessTest,
        protocols: &[u8],
        standings: Standings,
        budget: &mut Budget,
    ) -> Result<Vec<String>, Exhausted> {
        let sources = self.sources(test, standings, budget)?;
        if sources.kinds.is_empty() && sources.ranges.is_empty() {
            return Ok(vec![format!("src \"{}\" is nobody", test.source)]);
        }
        let mut failures = Vec::new();
        for (texts, wanted) in [(&test.accept, true), (&test.deny, false)] {
            for text in texts {
                let said = if wanted { "accept" } else { "deny" };
                match self.allows(&sources, text, protocols, standings, budget)? {
                    Err(why) => failures.push(format!("{said} \"{text}\": {why}")),
                    Ok(allowed) if allowed != wanted => {
                        let fact = if wanted { "can not reach" } else { "can reach" };
                        failures.push(format!("\"{}\" {fact} \"{text}\"", test.source));
                    }
                    Ok(_) => {}
                }
            }
        }
        Ok(failures)
    }

    /// Returns the sources of a test; few kinds, however many devices there are.
    fn sources(
        &mut self,
        test: &AccessTest,
        standings: Standings,
        budget: &mut Budget,
    ) -> Result<Arc<Sources>, Exhausted> {
        let attributes = test.attributes.as_ref();
        if attributes.is_none()
            && let Some(known) = self.known.get(&test.source)
        {
            return Ok(Arc::clone(known));
        }
        let mut sources = Sources::default();
        let named = self
            .world
            .named(&test.source, standings.of_sources, budget)?;
        match named {
            Named::Devices(devices) => {
                let places = devices.into_iter().flat_map(Device::places);
                sources.kinds = self.kinds(places, attributes, budget)?;
            }
            Named::MadeUp(devices) => {
                let places = devices.iter().map(MadeUpDevice::device);
                let places = places.flat_map(Device::places);
                sources.kinds = self.kinds(places, attributes, budget)?;
                sources.made_up = devices;
            }
            Named::Address(address) => {
                let device = self.world.at(address);
                sources.kinds.insert(self.kind(address, device, attributes));
            }
            Named::Ranges(ranges) => sources.ranges = ranges,
            Named::Own | Named::Nothing => {}
        }
        let is_strangers = sources.made_up.iter().any(|device| device.is_strangers);
        self.has_strangers |= is_strangers;
        let sources = Arc::new(sources);
        if attributes.is_none() && !is_strangers {
            self.kept += sources.kinds.len() + sources.ranges.len() + sources.made_up.len();
            if self.kept > MOST_KEPT {
                self.forget();
            }
            self.known.insert(test.source.clone(), Arc::clone(&sources));
        }
        Ok(sources)
    }

    /// Returns what rules can tell of some places.
    fn kinds<'d>(
        &self,
        places: impl Iterator<Item = Place<'d>>,
        attributes: Option<&Attributes>,
        budget: &mut Budget,
    ) -> Result<BTreeSet<Kind>, Exhausted> {
        let mut kinds = BTreeSet::new();
        for (address, device) in places {
            let kind = self.kind(address, device, attributes);
            budget.spend(kind.parties.len() + ADDRESS)?;
            kinds.insert(kind);
        }
        Ok(kinds)
    }

    fn kind(
        &self,
        address: IpAddr,
        device: Option<Device<'_>>,
        attributes: Option<&Attributes>,
    ) -> Kind {
        let mut parties: Vec<_> = self.plan.parties.having(address).collect();
        if let Some(Device { node, owner }) = device {
            let attributes = attributes.unwrap_or(&node.attributes);
            parties.extend(self.plan.parties.identified(node, owner, attributes));
        }
        parties.retain(|party| self.is_source[*party as usize]);
        parties.sort_unstable();
        parties.dedup();
        Kind {
            parties,
            is_inside: self.inside.contains(address),
            owner: device.and_then(|device| device.owner).map(|user| user.id),
        }
    }

    /// Says whether every source reaches some address of a destination, written `selector:port`.
    fn allows(
        &mut self,
        sources: &Sources,
        text: &str,
        protocols: &[u8],
        standings: Standings,
        budget: &mut Budget,
    ) -> Result<Result<bool, String>, Exhausted> {
        let (selector, port) = match destination(text, protocols) {
            Ok(read) => read,
            Err(why) => return Ok(Err(why)),
        };
        let destination = match self.destinations.get(selector) {
            Some(known) => Arc::clone(known),
            None => match self
                .world
                .named(selector, standings.of_destinations, budget)?
            {
                Named::Own => {
                    let rules = self.rules(port, protocols, budget)?;
                    return self.allows_own(sources, &rules, budget);
                }
                Named::Address(address) => {
                    let place = (address, self.world.at(address));
                    self.keep(selector, [place].into_iter(), budget)?
                }
                Named::Devices(devices) => {
                    let places = devices.into_iter().flat_map(Device::places);
                    self.keep(selector, places, budget)?
                }
                Named::MadeUp(devices) => {
                    let places = devices.iter().map(MadeUpDevice::device);
                    let places = places.flat_map(Device::places);
                    if devices.iter().any(|device| device.is_strangers) {
                        self.has_strangers = true;
                        Arc::new(self.destination(places, budget)?)
                    } else {
                        self.keep(selector, places, budget)?
                    }
                }
                Named::Ranges(_) | Named::Nothing => Arc::default(),
            },
        };
        if !destination.is_there {
            let why = "the destination is no node and no single address";
            return Ok(Err(why.to_owned()));
        }
        let rules = self.rules(port, protocols, budget)?;
        self.admits(sources, &destination, &rules, budget).map(Ok)
    }

    /// Returns the rules with a port, for one of some protocols; where there are no ports any rule for them.
    fn rules(
        &self,
        port: Option<u16>,
        protocols: &[u8],
        budget: &mut Budget,
    ) -> Result<Vec<&PlannedRule>, Exhausted> {
        let has_port = |service: &Service| {
            let named = service.protocol.map(|number| [number]);
            let numbers = named.as_ref().map_or(DEFAULT, |number| number);
            numbers.iter().any(|number| protocols.contains(number))
                && port.is_none_or(|port| {
                    let mut ports = service.ports.iter();
                    ports.any(|ports| ports.first <= port && port <= ports.last)
                })
        };
        budget.spend(self.plan.rules.len())?;
        let rules = self.plan.rules.iter();
        Ok(rules
            .filter(|rule| rule.rule.services.iter().any(has_port))
            .collect())
    }

    /// Says whether every source reaches the devices of its own user.
    fn allows_own(
        &self,
        sources: &Sources,
        rules: &[&PlannedRule],
        budget: &mut Budget,
    ) -> Result<Result<bool, String>, Exhausted> {
        const NO_DEVICES: &str = "the source has no own devices";
        // In order: which owner exhausts the budget is the same each time.
        let mut by_owner: BTreeMap<u64, Sources> = BTreeMap::new();
        for kind in &sources.kinds {
            let Some(owner) = kind.owner else {
                return Ok(Err(NO_DEVICES.to_owned()));
            };
            let own = by_owner.entry(owner).or_default();
            own.kinds.insert(kind.clone());
        }
        if by_owner.is_empty() {
            return Ok(Err(NO_DEVICES.to_owned()));
        }
        for (owner, own) in &by_owner {
            let known = self.world.devices.get(owner).into_iter().flatten().copied();
            let made_up = sources.made_up.iter().map(MadeUpDevice::device);
            let made_up =
                made_up.filter(|device| device.owner.is_some_and(|user| user.id == *owner));
            let places = known.chain(made_up).flat_map(Device::places);
            let destination = self.destination(places, budget)?;
            if !self.admits(own, &destination, rules, budget)? {
                return Ok(Ok(false));
            }
        }
        Ok(Ok(true))
    }

    /// Says whether rules let every source reach some address of a destination.
    fn admits(
        &self,
        sources: &Sources,
        destination: &Destination,
        rules: &[&PlannedRule],
        budget: &mut Budget,
    ) -> Result<bool, Exhausted> {
        let mut admitted = Admitted::default();
        for rule in rules {
            budget.spend(rule.destinations.len() + 1)?;
            if rule.rule.reach == Reach::Own || destination.is_reached_by(rule) {
                budget.spend(rule.sources.len())?;
                self.admit(rule, !sources.ranges.is_empty(), &mut admitted);
            }
        }
        budget.spend(sources.kinds.len())?;
        let mut kinds = sources.kinds.iter();
        let all = kinds.all(|kind| admitted.has(kind, destination));
        Ok(all && (sources.ranges.is_empty() || admitted.covers(&sources.ranges)))
    }

    /// Returns a destination, and keeps it for later tests.
    fn keep<'d>(
        &mut self,
        selector: &str,
        places: impl Iterator<Item = Place<'d>>,
        budget: &mut Budget,
    ) -> Result<Arc<Destination>, Exhausted> {
        let found = Arc::new(self.destination(places, budget)?);
        self.kept += found.parties.len() + found.owners.len() + 1;
        if self.kept > MOST_KEPT {
            self.forget();
        }
        self.destinations
            .insert(selector.to_owned(), Arc::clone(&found));
        Ok(found)
    }

    fn forget(&mut self) {
        self.kept = 0;
        self.known.clear();
        self.destinations.clear();
    }

    fn destination<'d>(
        &self,
        places: impl Iterator<Item = Place<'d>>,
        budget: &mut Budget,
    ) -> Result<Destination, Exhausted> {
        let parties = &self.plan.parties;
        let mut destination = Destination::default();
        for (address, device) in places {
            let is_public = internet::is_public(&address.into());
            let had = destination.parties.len();
            destination.is_there = true;
            destination.parties.extend(parties.having(address));
            destination.is_public |= is_public;
            match device {
                Some(Device { node, owner }) => {
                    let by_who = parties.identified(node, owner, &node.attributes);
                    destination.parties.extend(by_who);
                    destination.owners.extend(owner.map(|user| user.id));
                }
                None => {
                    destination.is_public_outside |= is_public;
                    let here = destination.parties[had..].to_vec();
                    destination.behind_routers.extend(here);
                }
            }
            budget.spend(destination.parties.len() - had + ADDRESS)?;
        }
        for parties in [&mut destination.parties, &mut destination.behind_routers] {
            parties.sort_unstable();
            parties.dedup();
        }
        Ok(destination)
    }

    /// Adds the sources of a rule.
    fn admit(&self, rule: &PlannedRule, wants_ranges: bool, admitted: &mut Admitted) {
        let is_everyone = rule.from_any && rule.rule.sources.contains(&Selector::Everyone.into());
        let is_inside = rule.from_any && rule.rule.sources.contains(&Selector::Any.into());
        if rule.rule.reach == Reach::Own {
            admitted.own_inside |= is_inside;
            admitted.own_parties.extend(rule.sources.iter());
            return;
        }
        admitted.everyone |= is_everyone;
        admitted.inside |= is_inside;
        admitted.parties.extend(rule.sources.iter());
        if wants_ranges {
            let ranges = rule.sources.iter().filter_map(|party| {
                match self.plan.parties.get(*party).selector {
                    Selector::Range(range) => Some(range),
                    _ => None,
                }
            });
            admitted.ranges.extend(ranges);
            if is_inside {
                admitted.ranges.extend(self.inside.ranges());
            }
        }
    }
}

impl Destination {
    /// Says whether a rule that names its destinations has some of it.
    fn is_reached_by(&self, rule: &PlannedRule) -> bool {
        let (parties, is_public) = if rule.via_id == 0 {
            (&self.parties, self.is_public)
        } else {
            (&self.behind_routers, self.is_public_outside)
        };
        let named = rule.destinations.iter();
        (rule.to_any && rule.via_id == 0)
            || (rule.to_internet && is_public)
            || named
                .into_iter()
                .any(|party| parties.binary_search(party).is_ok())
    }
}

impl Admitted {
    fn has(&self, kind: &Kind, destination: &Destination) -> bool {
        let among =
            |admitted: &BTreeSet<u32>| kind.parties.iter().any(|one| admitted.contains(one));
        let is_own = kind
            .owner
            .is_some_and(|owner| destination.owners.contains(&owner));
        self.everyone
            || (self.inside && kind.is_inside)
            || among(&self.parties)
            || (is_own && (self.own_inside || among(&self.own_parties)))
    }

    /// Says whether the addresses that rules name as sources cover all of some ranges.
    fn covers(&self, ranges: &[IpRange]) -> bool {
        let set: IpSet = self.ranges.iter().copied().collect();
        self.everyone || ranges.iter().all(|range| set.covers(range))
    }
}

fn protocols(text: Option<&str>) -> Result<Vec<u8>, String> {
    let Some(text) = text else {
        return Ok(EITHER.to_vec());
    };
    Ok(vec![protocol::parse(text)?])
}

/// Reads `selector:port`; the port of a protocol without ports is written 0, and none.
fn destination<'t>(text: &'t str, protocols: &[u8]) -> Result<(&'t str, Option<u16>), String> {
    if lacks_ports(text) {
        return Err(format!("ports are missing: {}", missing_ports(text)));
    }
    let (selector, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse::<u16>().ok().filter(|_| digits);
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
    let selector = selector
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(selector);
    Ok((selector, port))
}
