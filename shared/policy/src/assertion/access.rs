//! Access tests (policy section 20.1).
//!
//! Sources that no rule tells apart are judged once, and what does not depend on the source is worked out once for each
//! destination. Example: a test of `autogroup:member` in a tailnet of ten thousand devices has perhaps twenty kinds of
//! sources, as many as there are combinations of groups that rules name.

mod destination;
mod source;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bowline_ip_set::{IpRange, IpSet};

use super::{
    TestedTailnet,
    budget::{Budget, Exhausted},
    device::{MadeUpDevice, StrangerRoles, TestAddress, TestDevice},
    target::TestTarget,
};
use crate::{
    compile::{AccessPlan, PlannedRule},
    internet,
    inventory::PolicyNode,
    policy::{DestinationKind, ProtocolPorts},
    protocol,
    section::access_tests::AccessTest,
};
use destination::{TestDestination, parse_destination};
use source::{AdmittedSources, TestSources};

/// The protocols that satisfy a test without one: TCP and UDP.
const TCP_OR_UDP: &[u8] = &[6, 17];
/// The protocols of a rule without one.
const DEFAULT_PROTOCOLS: &[u8] = &[1, 6, 17, 58];
/// The most parts of sources and destinations that are cached for later tests that name the same.
const MOST_CACHED: usize = 200_000;

/// Runs access tests.
pub(super) struct AccessJudge<'w> {
    tailnet: &'w TestedTailnet<'w>,
    plan: AccessPlan,
    /// For each selector whether rules have it as a source.
    is_source: Vec<bool>,
    /// The addresses that `*` means as a source.
    tailnet_addresses: IpSet,
    cached_sources: HashMap<String, Arc<TestSources>>,
    cached_destinations: HashMap<String, Arc<TestDestination>>,
    /// How many parts the cached sources and destinations have.
    cached_parts: usize,
    /// Whether the test at hand names strangers.
    names_strangers: bool,
}

/// What a test asks: one of its destinations is judged under it at a time.
struct TestQuestion<'q> {
    sources: &'q TestSources,
    protocols: &'q [u8],
    stranger_roles: StrangerRoles,
}

/// Whether a destination is allowed, or why that can not be said.
type AccessAnswer = Result<bool, String>;

impl<'w> AccessJudge<'w> {
    pub(super) fn new(tailnet: &'w TestedTailnet<'w>) -> Self {
        let plan = if tailnet.policy.tests.is_empty() {
            AccessPlan::default()
        } else {
            AccessPlan::new(tailnet.policy)
        };
        let mut is_source = vec![false; plan.selectors.ids.len()];
        for selector in plan.rules.iter().flat_map(|rule| rule.sources.iter()) {
            is_source[*selector as usize] = true;
        }
        let own_blocks = internet::ANY.iter().filter_map(|text| text.parse().ok());
        let routes = tailnet.nodes.values().flat_map(PolicyNode::subnet_routes);
        let routes = routes.map(|route| IpRange::from(*route));
        Self {
            tailnet,
            plan,
            is_source,
            tailnet_addresses: own_blocks.chain(routes).collect(),
            cached_sources: HashMap::new(),
            cached_destinations: HashMap::new(),
            cached_parts: 0,
            names_strangers: false,
        }
    }

    /// Returns why a test fails; empty when it passes.
    pub(super) fn find_failures(
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
        let protocols = match parse_protocols(test.protocol.as_deref()) {
            Ok(protocols) => protocols,
            Err(problem) => return Ok(vec![problem]),
        };
        let mut failures_as_members = None;
        for stranger_roles in StrangerRoles::candidates() {
            self.names_strangers = false;
            let failures = self.find_failures_as(test, &protocols, stranger_roles, budget)?;
            if failures.is_empty() || !self.names_strangers {
                return Ok(failures);
            }
            failures_as_members.get_or_insert(failures);
        }
        Ok(failures_as_members.unwrap_or_default())
    }

    /// Returns why a test fails when strangers have some roles.
    fn find_failures_as(
        &mut self,
        test: &AccessTest,
        protocols: &[u8],
        stranger_roles: StrangerRoles,
        budget: &mut Budget,
    ) -> Result<Vec<String>, Exhausted> {
        let sources = self.find_sources(test, stranger_roles, budget)?;
        if sources.is_empty() {
            return Ok(vec![format!("src \"{}\" is nobody", test.source)]);
        }
        let question = TestQuestion {
            sources: &sources,
            protocols,
            stranger_roles,
        };
        let mut failures = Vec::new();
        for text in &test.accept {
            match self.judge_destination(&question, text, budget)? {
                Err(problem) => failures.push(format!("accept \"{text}\": {problem}")),
                Ok(false) => {
                    failures.push(format!("\"{}\" can not reach \"{text}\"", test.source));
                }
                Ok(true) => {}
            }
        }
        for text in &test.deny {
            match self.judge_destination(&question, text, budget)? {
                Err(problem) => failures.push(format!("deny \"{text}\": {problem}")),
                Ok(true) => failures.push(format!("\"{}\" can reach \"{text}\"", test.source)),
                Ok(false) => {}
            }
        }
        Ok(failures)
    }

    /// Says whether every source reaches some address of a destination, written `selector:port`.
    fn judge_destination(
        &mut self,
        question: &TestQuestion<'_>,
        text: &str,
        budget: &mut Budget,
    ) -> Result<AccessAnswer, Exhausted> {
        let (selector, port) = match parse_destination(text, question.protocols) {
            Ok(read) => read,
            Err(problem) => return Ok(Err(problem)),
        };
        let Some(destination) = self.find_destination(question, selector, budget)? else {
            let rules = self.matching_rules(question.protocols, port, budget)?;
            return self.judge_own_devices(question.sources, &rules, budget);
        };
        if !destination.has_address {
            let problem = "the destination is no node and no single address";
            return Ok(Err(problem.to_owned()));
        }
        let rules = self.matching_rules(question.protocols, port, budget)?;
        self.admits_all(question.sources, &destination, &rules, budget)
            .map(Ok)
    }

    /// Returns a destination; `None` for the devices of the source's own user.
    fn find_destination(
        &mut self,
        question: &TestQuestion<'_>,
        selector: &str,
        budget: &mut Budget,
    ) -> Result<Option<Arc<TestDestination>>, Exhausted> {
        if let Some(known) = self.cached_destinations.get(selector) {
            return Ok(Some(Arc::clone(known)));
        }
        let role = question.stranger_roles.of_destinations;
        let tailnet = self.tailnet;
        let described = match tailnet.resolve_target(selector, role, budget)? {
            TestTarget::Own => return Ok(None),
            TestTarget::Ranges(_) | TestTarget::Nothing => return Ok(Some(Arc::default())),
            TestTarget::Address(address) => {
                let device = tailnet.device_at(address);
                self.describe_destination([TestAddress { address, device }], budget)?
            }
            TestTarget::Devices(devices) => {
                let addresses = devices.into_iter().flat_map(TestDevice::addresses);
                self.describe_destination(addresses, budget)?
            }
            TestTarget::MadeUp(devices) => {
                let made_up = devices.iter().map(MadeUpDevice::device);
                let addresses = made_up.flat_map(TestDevice::addresses);
                let described = self.describe_destination(addresses, budget)?;
                if devices.iter().any(|device| device.is_of_stranger) {
                    // It depends on the role, so it is not cached.
                    self.names_strangers = true;
                    return Ok(Some(Arc::new(described)));
                }
                described
            }
        };
        Ok(Some(self.cache_destination(selector, described)))
    }

    /// Returns the rules for one of some protocols and a port; without a port, any rule for the protocols.
    fn matching_rules(
        &self,
        protocols: &[u8],
        port: Option<u16>,
        budget: &mut Budget,
    ) -> Result<Vec<&PlannedRule>, Exhausted> {
        let has_protocol = |service: &ProtocolPorts| match service.protocol {
            Some(number) => protocols.contains(&number),
            None => DEFAULT_PROTOCOLS
                .iter()
                .any(|number| protocols.contains(number)),
        };
        let has_port = |service: &ProtocolPorts| match port {
            None => true,
            Some(port) => {
                let mut ports = service.ports.iter();
                ports.any(|ports| ports.first <= port && port <= ports.last)
            }
        };
        budget.spend(self.plan.rules.len())?;
        let fits = |rule: &&PlannedRule| {
            let mut services = rule.rule.services.iter();
            services.any(|service| has_protocol(service) && has_port(service))
        };
        Ok(self.plan.rules.iter().filter(fits).collect())
    }

    /// Says whether every source reaches the devices of its own user.
    fn judge_own_devices(
        &self,
        sources: &TestSources,
        rules: &[&PlannedRule],
        budget: &mut Budget,
    ) -> Result<AccessAnswer, Exhausted> {
        // In order: which owner exhausts the budget is the same each time.
        let mut by_owner: BTreeMap<u64, TestSources> = BTreeMap::new();
        let is_of_users = sources.kinds.iter().all(|kind| kind.owner.is_some());
        if !is_of_users || sources.kinds.is_empty() {
            return Ok(Err("the source has no own devices".to_owned()));
        }
        for kind in &sources.kinds {
            if let Some(owner) = kind.owner {
                let of_owner = by_owner.entry(owner).or_default();
                of_owner.kinds.insert(kind.clone());
            }
        }
        for (owner, of_owner) in &by_owner {
            let known = self.tailnet.devices.get(owner).into_iter().flatten();
            let made_up = sources.made_up.iter().map(MadeUpDevice::device);
            let is_own =
                |device: &TestDevice<'_>| device.owner.is_some_and(|user| user.id == *owner);
            let devices = known.copied().chain(made_up.filter(is_own));
            let addresses = devices.flat_map(TestDevice::addresses);
            let destination = self.describe_destination(addresses, budget)?;
            if !self.admits_all(of_owner, &destination, rules, budget)? {
                return Ok(Ok(false));
            }
        }
        Ok(Ok(true))
    }

    /// Says whether rules let every source reach some address of a destination.
    fn admits_all(
        &self,
        sources: &TestSources,
        destination: &TestDestination,
        rules: &[&PlannedRule],
        budget: &mut Budget,
    ) -> Result<bool, Exhausted> {
        let mut admitted = AdmittedSources::default();
        for rule in rules {
            budget.spend(rule.destinations.len() + 1)?;
            if rule.rule.destination_kind == DestinationKind::Own || destination.is_reached_by(rule)
            {
                budget.spend(rule.sources.len())?;
                self.add_admitted(rule, !sources.ranges.is_empty(), &mut admitted);
            }
        }
        budget.spend(sources.kinds.len())?;
        let mut kinds = sources.kinds.iter();
        let all_admitted = kinds.all(|kind| admitted.has_kind(kind, destination));
        Ok(all_admitted && admitted.has_ranges(&sources.ranges))
    }
}

fn parse_protocols(text: Option<&str>) -> Result<Vec<u8>, String> {
    match text {
        Some(text) => Ok(vec![protocol::parse(text)?]),
        None => Ok(TCP_OR_UDP.to_vec()),
    }
}
