//! SSH tests (policy section 20.2): the compiled rules of each destination, read as its client reads them.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::Ipv6Addr,
};

use super::{
    World,
    budget::{ADDRESS, Budget, Exhausted},
    device::{Device, MadeUpDevice, Standings},
    named::Named,
};
use crate::{
    compile::{ListId, Principals, SettingsPlan, SshLogin},
    inventory::{Node, Role, User},
    section::ssh_tests::SshTest,
};

/// What the first rule that matches says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Accept,
    Check,
    Refuse,
}

/// Runs SSH tests.
pub(super) struct Judge<'w> {
    world: &'w World<'w>,
    plan: SettingsPlan,
    /// The users, and the owners of made-up devices.
    users: Cow<'w, BTreeMap<u64, User>>,
    /// How many devices are in each list of a user.
    user_lists: BTreeMap<ListId, u64>,
    /// Whether the test at hand names strangers.
    has_strangers: bool,
}

/// Devices of the inventory, or made-up ones.
enum Devices<'w> {
    Known(Vec<Device<'w>>),
    MadeUp(Vec<MadeUpDevice>),
}

impl Devices<'_> {
    fn iter(&self) -> Box<dyn Iterator<Item = Device<'_>> + '_> {
        match self {
            Self::Known(devices) => Box::new(devices.iter().copied()),
            Self::MadeUp(devices) => Box::new(devices.iter().map(MadeUpDevice::device)),
        }
    }
}

/// A source: its number, and the lists it is in.
type Source = (u64, BTreeSet<ListId>);

/// Nodes with the same rules.
struct Destination {
    nodes: HashSet<u64>,
    logins: Vec<SshLogin>,
}

impl<'w> Judge<'w> {
    pub(super) fn new(world: &'w World<'w>) -> Self {
        let mut judge = Self {
            world,
            plan: SettingsPlan::default(),
            users: Cow::Borrowed(world.users),
            user_lists: BTreeMap::new(),
            has_strangers: false,
        };
        if !world.policy.ssh_tests.is_empty() {
            judge.plan = SettingsPlan::new(world.policy);
            for node in world.nodes.values() {
                let lists = judge.lists(world.device(node));
                judge.count(lists);
            }
        }
        judge
    }

    /// Returns why a test fails; empty when it passes.
    pub(super) fn failures(
        &mut self,
        test: &SshTest,
        budget: &mut Budget,
    ) -> Result<Vec<String>, Exhausted> {
        if [&test.accept, &test.check, &test.deny]
            .iter()
            .all(|users| users.is_empty())
        {
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
        let mut first = None;
        for standings in Standings::all() {
            self.has_strangers = false;
            let failures = self.failures_as(test, standings, budget)?;
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
        test: &SshTest,
        standings: Standings,
        budget: &mut Budget,
    ) -> Result<Vec<String>, Exhausted> {
        let lists = [
            ("accept", &test.accept, Verdict::Accept),
            ("check", &test.check, Verdict::Check),
            ("deny", &test.deny, Verdict::Refuse),
        ];
        let sources = self.sources(test, standings.of_sources, budget)?;
        if sources.is_empty() {
            return Ok(vec![format!("src \"{}\" has no node", test.source)]);
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
            let destinations = self.destinations(text, standings.of_destinations, budget)?;
            if destinations.is_empty() {
                failures.push(format!("dst \"{text}\" has no node"));
            }
            for (said, users, wanted) in lists {
                for user in users {
                    let passes =
                        !user.is_empty() && all_are(wanted, &sources, &destinations, user, budget)?;
                    if !passes {
                        failures.push(format!(
                            "{said} \"{user}\" for \"{}\" on \"{text}\"",
                            test.source
                        ));
                    }
                }
            }
        }
        Ok(failures)
    }

    /// Returns the devices a text names; of made-up ones the owners are known from here on.
    fn devices(
        &mut self,
        text: &str,
        standing: Role,
        budget: &mut Budget,
    ) -> Result<Devices<'w>, Exhausted> {
        Ok(match self.world.named(text, standing, budget)? {
            Named::Devices(devices) => Devices::Known(devices),
            Named::MadeUp(devices) => {
                self.has_strangers |= devices.iter().any(|device| device.is_strangers);
                for owner in devices.iter().filter_map(|made_up| made_up.device().owner) {
                    if !self.users.contains_key(&owner.id) {
                        self.users.to_mut().insert(owner.id, owner.clone());
                    }
                }
                Devices::MadeUp(devices)
            }
            Named::Address(address) => Devices::Known(self.world.at(address).into_iter().collect()),
            Named::Ranges(_) | Named::Own | Named::Nothing => Devices::Known(Vec::new()),
        })
    }

    /// Returns the sources of a test; with attributes, as if the devices had these.
    fn sources(
        &mut self,
        test: &SshTest,
        standing: Role,
        budget: &mut Budget,
    ) -> Result<Vec<Source>, Exhausted> {
        let attributes = test.attributes.as_ref();
        let mut sources = Vec::new();
        let devices = self.devices(&test.source, standing, budget)?;
        let is_assumed = attributes.is_some() || matches!(devices, Devices::MadeUp(_));
        for device in devices.iter() {
            let Device { node, owner } = device;
            let lists = match attributes {
                None => self.lists(device),
                Some(attributes) => {
                    let attributes = attributes.clone();
                    let node = &Node {
                        attributes,
                        ..node.clone()
                    };
                    self.lists(Device { node, owner })
                }
            };
            budget.spend(lists.len() + ADDRESS)?;
            if is_assumed {
                // A device that is there, or meets a posture, only here makes rules for its user all the same.
                self.count(lists.clone());
            }
            sources.push((node.id, lists));
        }
        Ok(sources)
    }

    /// Returns the nodes a text names, by their rules.
    fn destinations(
        &mut self,
        text: &str,
        standing: Role,
        budget: &mut Budget,
    ) -> Result<Vec<Destination>, Exhausted> {
        let mut found: HashMap<u64, Destination> = HashMap::new();
        let devices = self.devices(text, standing, budget)?;
        for Device { node, owner } in devices.iter() {
            let key = self.plan.key(node, owner);
            let id = key.id(&self.plan);
            budget.spend(ADDRESS)?;
            if let Some(known) = found.get_mut(&id) {
                known.nodes.insert(node.id);
                continue;
            }
            let settings = self.plan.settings(&key, &self.user_lists, &self.users);
            budget.spend(settings.ssh.len() + 1)?;
            let destination = Destination {
                nodes: HashSet::from([node.id]),
                logins: settings.ssh,
            };
            found.insert(id, destination);
        }
        Ok(found.into_values().collect())
    }

    fn lists(&self, Device { node, owner }: Device<'_>) -> BTreeSet<ListId> {
        let key = self.plan.key(node, owner);
        self.plan.fed(node, &key, owner.map_or(0, |user| user.id))
    }

    fn count(&mut self, lists: BTreeSet<ListId>) {
        for list in lists.into_iter().filter(|list| list.user != 0) {
            *self.user_lists.entry(list).or_default() += 1;
        }
    }
}

/// Says whether every destination says the same to every source that asks for an account.
fn all_are(
    wanted: Verdict,
    sources: &[Source],
    destinations: &[Destination],
    account: &str,
    budget: &mut Budget,
) -> Result<bool, Exhausted> {
    for destination in destinations {
        let logins = &destination.logins;
        budget.spend(logins.len())?;
        // The first rule that lets each list have the account.
        let mut first: HashMap<ListId, usize> = HashMap::new();
        let mut itself = None;
        for (at, login) in logins
            .iter()
            .enumerate()
            .filter(|(_, login)| admits(login, account))
        {
            match &login.principals {
                Principals::Lists(lists) => {
                    for list in lists {
                        first.entry(*list).or_insert(at);
                    }
                }
                Principals::Itself(_) => itself = itself.or(Some(at)),
            }
        }
        for (node, lists) in sources {
            budget.spend(lists.len() + 1)?;
            let named = lists
                .iter()
                .filter_map(|list| first.get(list).copied())
                .min();
            let own = itself.filter(|_| destination.nodes.contains(node));
            let verdict = |own: Option<usize>| match named.into_iter().chain(own).min() {
                None => Verdict::Refuse,
                Some(at) if logins[at].check => Verdict::Check,
                Some(_) => Verdict::Accept,
            };
            let has_others = destination.nodes.len() > usize::from(own.is_some());
            if (own.is_some() && verdict(own) != wanted) || (has_others && verdict(None) != wanted)
            {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Says whether a rule lets its principals have an account: by its name, or else by `*`, which is never root.
fn admits(login: &SshLogin, account: &str) -> bool {
    let local = |name: &str| login.users.iter().find(|(ssh, _)| ssh == name);
    match local(account).or_else(|| local("*")) {
        None => false,
        Some((_, local)) if local == "=" => account != "root",
        Some((_, local)) => !local.is_empty(),
    }
}
