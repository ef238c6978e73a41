//! The sources of an access test, and which sources rules admit.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use bowline_ip_set::{IpRange, IpSet};

use super::{
    super::{
        budget::{ADDRESS_STEPS, Budget, Exhausted},
        device::{MadeUpDevice, StrangerRoles, TestAddress, TestDevice},
        target::TestTarget,
    },
    AccessJudge, MOST_CACHED,
    destination::TestDestination,
};
use crate::{
    attribute::Attributes, compile::PlannedRule, policy::DestinationKind,
    section::access_tests::AccessTest, selector::Selector,
};

/// The sources of a test.
#[derive(Debug, Default)]
pub(super) struct TestSources {
    pub(super) kinds: BTreeSet<SourceKind>,
    pub(super) ranges: Vec<IpRange>,
    /// The made-up devices among them.
    pub(super) made_up: Vec<MadeUpDevice>,
}

/// What rules can tell of an address that is a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SourceKind {
    /// The selectors that select it and are sources of rules, ascending.
    selectors: Vec<u32>,
    /// Whether it is among the addresses that `*` means.
    is_in_tailnet: bool,
    pub(super) owner: Option<u64>,
}

/// The sources that some rules admit.
#[derive(Debug, Default)]
pub(super) struct AdmittedSources {
    /// Whether any address is admitted.
    everyone: bool,
    /// Whether the addresses that `*` means are.
    tailnet: bool,
    selectors: BTreeSet<u32>,
    /// Whether `*` is admitted by rules to own devices.
    tailnet_to_own: bool,
    /// The selectors that rules to own devices admit.
    selectors_to_own: BTreeSet<u32>,
    ranges: Vec<IpRange>,
}

impl TestSources {
    /// Says whether the test has no source.
    pub(super) fn is_empty(&self) -> bool {
        self.kinds.is_empty() && self.ranges.is_empty()
    }
}

impl AccessJudge<'_> {
    /// Returns the sources of a test: few kinds, however many devices there are.
    pub(super) fn find_sources(
        &mut self,
        test: &AccessTest,
        stranger_roles: StrangerRoles,
        budget: &mut Budget,
    ) -> Result<Arc<TestSources>, Exhausted> {
        let attributes = test.attributes.as_ref();
        if attributes.is_none()
            && let Some(known) = self.cached_sources.get(&test.source)
        {
            return Ok(Arc::clone(known));
        }
        let mut sources = TestSources::default();
        let role = stranger_roles.of_sources;
        match self.tailnet.resolve_target(&test.source, role, budget)? {
            TestTarget::Devices(devices) => {
                let addresses = devices.into_iter().flat_map(TestDevice::addresses);
                sources.kinds = self.classify_sources(addresses, attributes, budget)?;
            }
            TestTarget::MadeUp(devices) => {
                let made_up = devices.iter().map(MadeUpDevice::device);
                let addresses = made_up.flat_map(TestDevice::addresses);
                sources.kinds = self.classify_sources(addresses, attributes, budget)?;
                sources.made_up = devices;
            }
            TestTarget::Address(address) => {
                let device = self.tailnet.device_at(address);
                let address = TestAddress { address, device };
                let kind = self.classify_source(address, attributes);
                sources.kinds.insert(kind);
            }
            TestTarget::Ranges(ranges) => sources.ranges = ranges,
            TestTarget::Own | TestTarget::Nothing => {}
        }
        let has_strangers = sources.made_up.iter().any(|device| device.is_of_stranger);
        self.names_strangers |= has_strangers;
        let sources = Arc::new(sources);
        if attributes.is_none() && !has_strangers {
            self.cache_sources(&test.source, &sources);
        }
        Ok(sources)
    }

    fn cache_sources(&mut self, text: &str, sources: &Arc<TestSources>) {
        let TestSources {
            kinds,
            ranges,
            made_up,
        } = &**sources;
        self.cached_parts += kinds.len() + ranges.len() + made_up.len();
        self.bound_cache();
        self.cached_sources
            .insert(text.to_owned(), Arc::clone(sources));
    }

    /// Empties the cache when it has become too large.
    pub(super) fn bound_cache(&mut self) {
        if self.cached_parts > MOST_CACHED {
            self.cached_parts = 0;
            self.cached_sources.clear();
            self.cached_destinations.clear();
        }
    }

    fn classify_sources<'d>(
        &self,
        addresses: impl Iterator<Item = TestAddress<'d>>,
        attributes: Option<&Attributes>,
        budget: &mut Budget,
    ) -> Result<BTreeSet<SourceKind>, Exhausted> {
        let mut kinds = BTreeSet::new();
        for address in addresses {
            let kind = self.classify_source(address, attributes);
            budget.spend(kind.selectors.len() + ADDRESS_STEPS)?;
            kinds.insert(kind);
        }
        Ok(kinds)
    }

    /// Returns what rules can tell of a source, if its device has these attributes instead of its own.
    fn classify_source(
        &self,
        TestAddress { address, device }: TestAddress<'_>,
        attributes: Option<&Attributes>,
    ) -> SourceKind {
        let table = &self.plan.selectors;
        let mut selectors: Vec<_> = table.ranges_with_address(address).collect();
        if let Some(TestDevice { node, owner }) = device {
            let attributes = attributes.unwrap_or(&node.attributes);
            selectors.extend(table.identity_selectors(node, owner, attributes));
        }
        selectors.retain(|selector| self.is_source[*selector as usize]);
        selectors.sort_unstable();
        selectors.dedup();
        SourceKind {
            selectors,
            is_in_tailnet: self.is_in_tailnet(address),
            owner: device.and_then(|device| device.owner).map(|user| user.id),
        }
    }

    fn is_in_tailnet(&self, address: IpAddr) -> bool {
        self.tailnet_addresses.contains(address)
    }

    /// Adds the sources of a rule.
    pub(super) fn add_admitted(
        &self,
        rule: &PlannedRule,
        wants_ranges: bool,
        admitted: &mut AdmittedSources,
    ) {
        let names = |selector: Selector| rule.rule.sources.contains(&selector.into());
        let admits_tailnet = rule.from_any && names(Selector::Any);
        if rule.rule.destination_kind == DestinationKind::Own {
            admitted.tailnet_to_own |= admits_tailnet;
            admitted.selectors_to_own.extend(rule.sources.iter());
            return;
        }
        admitted.everyone |= rule.from_any && names(Selector::Everyone);
        admitted.tailnet |= admits_tailnet;
        admitted.selectors.extend(rule.sources.iter());
        if !wants_ranges {
            return;
        }
        for source in rule.sources.iter() {
            if let Selector::Range(range) = self.plan.selectors.get(*source).selector {
                admitted.ranges.push(range);
            }
        }
        if admits_tailnet {
            admitted.ranges.extend(self.tailnet_addresses.ranges());
        }
    }
}

impl AdmittedSources {
    /// Says whether a kind of source reaches a destination.
    pub(super) fn has_kind(&self, kind: &SourceKind, destination: &TestDestination) -> bool {
        let is_among = |admitted: &BTreeSet<u32>| {
            let mut selectors = kind.selectors.iter();
            selectors.any(|selector| admitted.contains(selector))
        };
        let is_own = kind
            .owner
            .is_some_and(|owner| destination.owners.contains(&owner));
        self.everyone
            || (self.tailnet && kind.is_in_tailnet)
            || is_among(&self.selectors)
            || (is_own && (self.tailnet_to_own || is_among(&self.selectors_to_own)))
    }

    /// Says whether the addresses that rules name as sources cover all of some ranges.
    pub(super) fn has_ranges(&self, ranges: &[IpRange]) -> bool {
        if self.everyone || ranges.is_empty() {
            return true;
        }
        let set: IpSet = self.ranges.iter().copied().collect();
        ranges.iter().all(|range| set.covers(range))
    }
}
