//! SSH tests (policy section 20.2): the compiled rules of each destination, read as its client reads them.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::Ipv6Addr,
};

use super::{
    TestedTailnet,
    budget::{ADDRESS_STEPS, Budget, Exhausted},
    device::{MadeUpDevice, StrangerRoles, TestDevice},
    target::TestTarget,
};
use crate::{
    compile::{CompiledSshRule, ListId, ProfilePlan, SshPrincipals},
    inventory::{PolicyNode, PolicyUser, Role},
    section::ssh_tests::SshTest,
};

/// What the first rule that matches says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SshVerdict {
    Accept,
    Check,
    Refuse,
}

/// Runs SSH tests.
pub(super) struct SshJudge<'w> {
    tailnet: &'w TestedTailnet<'w>,
    plan: ProfilePlan,
    /// The users, and the owners of made-up devices.
    users: Cow<'w, BTreeMap<u64, PolicyUser>>,
    /// How many devices are in each list of a user.
    user_lists: BTreeMap<ListId, u64>,
    /// Whether the test at hand names strangers.
    names_strangers: bool,
}

/// Devices of the inventory, or made-up ones.
enum TargetDevices<'w> {
    Known(Vec<TestDevice<'w>>),
    MadeUp(Vec<MadeUpDevice>),
}

impl TargetDevices<'_> {
    fn iter(&self) -> Box<dyn Iterator<Item = TestDevice<'_>> + '_> {
        match self {
            Self::Known(devices) => Box::new(devices.iter().copied()),
            Self::MadeUp(devices) => Box::new(devices.iter().map(MadeUpDevice::device)),
        }
    }
}

/// A source device.
struct SshSource {
    node: u64,
    /// The lists it is in.
    lists: BTreeSet<ListId>,
}

/// Destination nodes with the same rules.
struct SshDestination {
    nodes: HashSet<u64>,
    rules: Vec<CompiledSshRule>,
}

/// The sources and destinations of a test.
struct SshQuestion<'q> {
    sources: &'q [SshSource],
    destinations: &'q [SshDestination],
}

impl<'w> SshJudge<'w> {
    pub(super) fn new(tailnet: &'w TestedTailnet<'w>) -> Self {
        let mut judge = Self {
            tailnet,
            plan: ProfilePlan::default(),
            users: Cow::Borrowed(tailnet.users),
            user_lists: BTreeMap::new(),
            names_strangers: false,
        };
        if !tailnet.policy.ssh_tests.is_empty() {
            judge.plan = ProfilePlan::new(tailnet.policy);
            for node in tailnet.nodes.values() {
                let lists = judge.lists_of_device(tailnet.device_of(node));
                judge.count_user_lists(&lists);
            }
        }
        judge
    }

    /// Returns why a test fails; empty when it passes.
    pub(super) fn find_failures(
        &mut self,
        test: &SshTest,
        budget: &mut Budget,
    ) -> Result<Vec<String>, Exhausted> {
        if test.accept.is_empty() && test.check.is_empty() && test.deny.is_empty() {
            return Ok(vec![format!(
                "the SSH test of \"{}\" tests no user",
                test.source
            )]);
        }
        if test.destinations.is_empty() {
            return Ok(vec![format!(
                "the SSH test of \"{}\" has no dst",
                test.source
            )]);
        }
        let mut failures_as_members = None;
        for stranger_roles in StrangerRoles::candidates() {
            self.names_strangers = false;
            let failures = self.find_failures_as(test, stranger_roles, budget)?;
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
        test: &SshTest,
        stranger_roles: StrangerRoles,
        budget: &mut Budget,
    ) -> Result<Vec<String>, Exhausted> {
        let lists = [
            ("accept", &test.accept, SshVerdict::Accept),
            ("check", &test.check, SshVerdict::Check),
            ("deny", &test.deny, SshVerdict::Refuse),
        ];
        let sources = self.find_sources(test, stranger_roles.of_sources, budget)?;
        if sources.is_empty() {
            return Ok(vec![format!("src \"{}\" has no node", test.source)]);
        }
        let mut failures = Vec::new();
        for text in &test.destinations {
            if text.parse::<Ipv6Addr>().is_ok() {
                // The hosted service fails such a test, and a policy means the same here.
                failures.push(format!(
                    "dst \"{text}\": name the node by its tag, host or IPv4 address"
                ));
                continue;
            }
            let role = stranger_roles.of_destinations;
            let destinations = self.find_destinations(text, role, budget)?;
            if destinations.is_empty() {
                failures.push(format!("dst \"{text}\" has no node"));
            }
            let question = SshQuestion {
                sources: &sources,
                destinations: &destinations,
            };
            for (said, accounts, wanted) in lists {
                for account in accounts {
                    let passes =
                        !account.is_empty() && question.is_verdict(wanted, account, budget)?;
                    if !passes {
                        failures.push(format!(
                            "{said} \"{account}\" for \"{}\" on \"{text}\"",
                            test.source
                        ));
                    }
                }
            }
        }
        Ok(failures)
    }

    /// Returns the devices a text names; the owners of made-up ones are added to the users.
    fn find_devices(
        &mut self,
        text: &str,
        stranger_role: Role,
        budget: &mut Budget,
    ) -> Result<TargetDevices<'w>, Exhausted> {
        let known = match self.tailnet.resolve_target(text, stranger_role, budget)? {
            TestTarget::Devices(devices) => devices,
            TestTarget::MadeUp(devices) => {
                for made_up in &devices {
                    self.names_strangers |= made_up.is_of_stranger;
                    if let Some(owner) = made_up.device().owner
                        && !self.users.contains_key(&owner.id)
                    {
                        self.users.to_mut().insert(owner.id, owner.clone());
                    }
                }
                return Ok(TargetDevices::MadeUp(devices));
            }
            TestTarget::Address(address) => {
                let device = self.tailnet.device_at(address);
                device.into_iter().collect()
            }
            TestTarget::Ranges(_) | TestTarget::Own | TestTarget::Nothing => Vec::new(),
        };
        Ok(TargetDevices::Known(known))
    }

    /// Returns the sources of a test, as if the devices had the attributes that it gives them.
    fn find_sources(
        &mut self,
        test: &SshTest,
        stranger_role: Role,
        budget: &mut Budget,
    ) -> Result<Vec<SshSource>, Exhausted> {
        let mut sources = Vec::new();
        let devices = self.find_devices(&test.source, stranger_role, budget)?;
        let is_assumed = test.attributes.is_some() || matches!(devices, TargetDevices::MadeUp(_));
        for device in devices.iter() {
            let lists = match &test.attributes {
                None => self.lists_of_device(device),
                Some(attributes) => {
                    let node = PolicyNode {
                        attributes: attributes.clone(),
                        ..device.node.clone()
                    };
                    self.lists_of_device(TestDevice {
                        node: &node,
                        ..device
                    })
                }
            };
            budget.spend(lists.len() + ADDRESS_STEPS)?;
            if is_assumed {
                // The device, or its posture, exists only in this test. Rules for its user must exist all the same.
                self.count_user_lists(&lists);
            }
            sources.push(SshSource {
                node: device.node.id,
                lists,
            });
        }
        Ok(sources)
    }

    /// Returns the nodes a text names, by their rules.
    fn find_destinations(
        &mut self,
        text: &str,
        stranger_role: Role,
        budget: &mut Budget,
    ) -> Result<Vec<SshDestination>, Exhausted> {
        let mut found: HashMap<u64, SshDestination> = HashMap::new();
        let devices = self.find_devices(text, stranger_role, budget)?;
        for TestDevice { node, owner } in devices.iter() {
            let key = self.plan.profile_key(node, owner);
            let id = key.id(&self.plan);
            budget.spend(ADDRESS_STEPS)?;
            if let Some(known) = found.get_mut(&id) {
                known.nodes.insert(node.id);
                continue;
            }
            let profile = self
                .plan
                .compile_profile(&key, &self.user_lists, &self.users);
            budget.spend(profile.ssh.len() + 1)?;
            let destination = SshDestination {
                nodes: HashSet::from([node.id]),
                rules: profile.ssh,
            };
            found.insert(id, destination);
        }
        Ok(found.into_values().collect())
    }

    fn lists_of_device(&self, TestDevice { node, owner }: TestDevice<'_>) -> BTreeSet<ListId> {
        let key = self.plan.profile_key(node, owner);
        let user = owner.map_or(0, |user| user.id);
        self.plan.lists_of_node(node, &key, user)
    }

    fn count_user_lists(&mut self, lists: &BTreeSet<ListId>) {
        for list in lists.iter().filter(|list| list.user != 0) {
            *self.user_lists.entry(*list).or_default() += 1;
        }
    }
}

impl SshQuestion<'_> {
    /// Says whether every destination gives the wanted verdict to every source that asks for an account.
    fn is_verdict(
        &self,
        wanted: SshVerdict,
        account: &str,
        budget: &mut Budget,
    ) -> Result<bool, Exhausted> {
        for destination in self.destinations {
            budget.spend(destination.rules.len())?;
            let first = FirstRules::new(&destination.rules, account);
            for source in self.sources {
                budget.spend(source.lists.len() + 1)?;
                let by_lists = first.for_lists(&source.lists);
                let is_itself = destination.nodes.contains(&source.node);
                let by_itself = if is_itself { first.for_itself } else { None };
                let verdict = |first: Option<usize>| match first {
                    None => SshVerdict::Refuse,
                    Some(at) if destination.rules[at].check => SshVerdict::Check,
                    Some(_) => SshVerdict::Accept,
                };
                // A rule for the node itself concerns the source when it is the destination, and no other node.
                if by_itself.is_some() {
                    let first = by_lists.into_iter().chain(by_itself).min();
                    if verdict(first) != wanted {
                        return Ok(false);
                    }
                }
                let others = destination.nodes.len() - usize::from(by_itself.is_some());
                if others > 0 && verdict(by_lists) != wanted {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// The places of the first rules that let sources have an account.
struct FirstRules {
    by_list: HashMap<ListId, usize>,
    for_itself: Option<usize>,
}

impl FirstRules {
    fn new(rules: &[CompiledSshRule], account: &str) -> Self {
        let mut first = Self {
            by_list: HashMap::new(),
            for_itself: None,
        };
        for (at, rule) in rules.iter().enumerate() {
            if !admits_account(rule, account) {
                continue;
            }
            match &rule.principals {
                SshPrincipals::Lists(lists) => {
                    for list in lists {
                        first.by_list.entry(*list).or_insert(at);
                    }
                }
                SshPrincipals::Itself(_) => first.for_itself = first.for_itself.or(Some(at)),
            }
        }
        first
    }

    /// Returns the place of the first rule for a source that is in some lists.
    fn for_lists(&self, lists: &BTreeSet<ListId>) -> Option<usize> {
        let places = lists.iter().filter_map(|list| self.by_list.get(list));
        places.copied().min()
    }
}

/// Says whether a rule lets its principals have an account: by its name, or else by `*`, which is never root.
fn admits_account(rule: &CompiledSshRule, account: &str) -> bool {
    let local_account = |name: &str| {
        let entry = rule.users.iter().find(|(asked, _)| asked == name);
        entry.map(|(_, local)| local.as_str())
    };
    match local_account(account).or_else(|| local_account("*")) {
        None => false,
        Some("=") => account != "root",
        Some(local) => !local.is_empty(),
    }
}
