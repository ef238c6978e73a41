//! Which rules let a node reach another, and what another policy would change.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{
    class::{ClassKey, Reached},
    compiler::Compiler,
    plan::Plan,
};
use crate::{
    inventory::{Node, User},
    policy::{Party, Policy, Reach, Rule, Service},
    port::Ports,
    protocol,
    selector::Selector,
};

/// The most pairs a preview lists.
const MOST_PAIRS: usize = 1000;

/// Why a node may or may not reach another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// The rules that allow it.
    pub allowed_by: Vec<RuleUse>,
    /// Rules that name the source and not the destination.
    pub only_source: Vec<RuleUse>,
    /// Rules that name the destination and not the source.
    pub only_destination: Vec<RuleUse>,
    /// Rules that name both, for devices that meet a posture the source does not meet.
    pub posture_missing: Vec<RuleUse>,
}

/// A rule and what it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleUse {
    /// The line of the document; zero for the default policy.
    pub line: u32,
    /// The rule in short: `group:eng → tag:web`.
    pub rule: String,
    /// What it allows there: `tcp:22`, `any:80`, a capability's name.
    pub allows: Vec<String>,
    /// What of the destination it is about: ranges routed by the node; empty for the node's own addresses.
    pub through_routes: Vec<String>,
}

/// What another policy would change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preview {
    /// Pairs of nodes whose access differs, by source and destination; at most a thousand.
    pub pairs: BTreeMap<(u64, u64), PairChange>,
    /// How many there are.
    pub total: u64,
}

/// A pair of nodes whose access differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairChange {
    /// What it gains.
    pub gained: BTreeSet<String>,
    /// What it loses.
    pub lost: BTreeSet<String>,
}

/// What reaches a destination: the rules and what of it they are about.
type ReachedBy = BTreeMap<u32, Vec<String>>;

/// A class as both policies see it.
struct Group {
    number: usize,
    nodes: Vec<u64>,
    sides: [Side; 2],
}

/// A class as one policy sees it.
#[derive(Clone)]
struct Side {
    from: BTreeSet<u32>,
    to: ReachedBy,
}

impl Compiler {
    /// Says which rules let a node reach another, and which come near; `None` when one of them is not there.
    #[must_use]
    pub fn explain(&self, source: u64, destination: u64) -> Option<Explanation> {
        let (from, to) = (self.nodes().get(&source)?, self.nodes().get(&destination)?);
        let plan = self.plan();
        let same_user = owner(self, from).is_some() && owner(self, from) == owner(self, to);
        let sources = side(self, plan, from).from;
        let reached = side(self, plan, to).to;
        let without_postures = {
            let relaxed = Plan::of(&without_postures(self.policy()), self.policy());
            side(self, &relaxed, from).from
        };
        let mut explanation = Explanation::default();
        for (number, rule) in (0..).zip(&plan.rules) {
            let to_own = rule.rule.reach != Reach::Named;
            let is_destination = if to_own {
                same_user
            } else {
                reached.contains_key(&number)
            };
            let routes = reached.get(&number).cloned().unwrap_or_default();
            let used = use_of(&rule.rule, routes);
            match (sources.contains(&number), is_destination) {
                (true, true) => explanation.allowed_by.push(used),
                (false, true) if without_postures.contains(&number) => {
                    explanation.posture_missing.push(used);
                }
                (true, false) => explanation.only_source.push(used),
                (false, true) => explanation.only_destination.push(used),
                (false, false) => {}
            }
        }
        let Explanation {
            allowed_by,
            only_source,
            only_destination,
            posture_missing,
        } = &mut explanation;
        for uses in [allowed_by, only_source, only_destination, posture_missing] {
            uses.sort_by_key(|used| used.line);
        }
        Some(explanation)
    }

    /// Says whose access another policy would change.
    #[must_use]
    pub fn preview(&self, after: &Policy) -> Preview {
        let plans = [self.plan(), &Plan::new(after)];
        let changed = [
            changed_rules(self.policy(), after),
            changed_rules(after, self.policy()),
        ];
        let groups = self.groups(plans);
        let mut preview = Preview::default();
        let mut differing = BTreeSet::new();
        let touched_from = groups.iter().filter(|group| group.is_from(&changed));
        for from in touched_from {
            for to in groups.iter().filter(|to| from.reaches_by(&changed, to)) {
                let [before, now] =
                    [0, 1].map(|at| access(plans[at], &from.sides[at], &to.sides[at]));
                if before != now {
                    differing.insert((from.number, to.number));
                    preview.add_groups(from, to, &before, &now);
                }
            }
        }
        self.preview_own(plans, &groups, &differing, &mut preview);
        preview
    }

    fn groups(&self, plans: [&Plan; 2]) -> Vec<Group> {
        let mut groups: BTreeMap<[u64; 2], Group> = BTreeMap::new();
        for node in self.nodes().values() {
            let user = owner(self, node);
            let id = plans.map(|plan| ClassKey::new(plan, node, user).id(plan));
            let number = groups.len();
            let group = groups.entry(id).or_insert_with(|| Group {
                number,
                nodes: Vec::new(),
                sides: plans.map(|plan| side(self, plan, node)),
            });
            group.nodes.push(node.id);
        }
        groups.into_values().collect()
    }

    /// Adds the pairs of devices of one user whose access by `autogroup:self` differs.
    fn preview_own(
        &self,
        plans: [&Plan; 2],
        groups: &[Group],
        differing: &BTreeSet<(usize, usize)>,
        preview: &mut Preview,
    ) {
        if plans.iter().all(|plan| plan.own.is_empty()) {
            return;
        }
        let mut devices: BTreeMap<u64, Vec<(u64, &Group)>> = BTreeMap::new();
        for group in groups {
            for node in &group.nodes {
                if let Some(user) = owner(self, &self.nodes()[node]) {
                    devices.entry(user.id).or_default().push((*node, group));
                }
            }
        }
        for nodes in devices.values().filter(|nodes| nodes.len() > 1) {
            for (source, from) in nodes {
                let own = [0, 1].map(|at| own_access(plans[at], &from.sides[at]));
                if own.iter().all(BTreeSet::is_empty) {
                    continue;
                }
                for (destination, to) in nodes.iter().filter(|(to, _)| to != source) {
                    let [before, now] = [0, 1]
                        .map(|at| &access(plans[at], &from.sides[at], &to.sides[at]) | &own[at]);
                    let was_counted = differing.contains(&(from.number, to.number));
                    preview.replace((*source, *destination), was_counted, &before, &now);
                }
            }
        }
    }
}

impl Group {
    /// Says whether a changed rule names the group as a source.
    fn is_from(&self, changed: &[BTreeSet<u32>; 2]) -> bool {
        (0..2).any(|at| !self.sides[at].from.is_disjoint(&changed[at]))
    }

    /// Says whether a changed rule leads from this group to another.
    fn reaches_by(&self, changed: &[BTreeSet<u32>; 2], to: &Self) -> bool {
        (0..2).any(|at| {
            let from = self.sides[at].from.intersection(&changed[at]);
            from.into_iter()
                .any(|rule| to.sides[at].to.contains_key(rule))
        })
    }
}

impl Preview {
    /// Adds all pairs of two groups.
    fn add_groups(
        &mut self,
        from: &Group,
        to: &Group,
        before: &BTreeSet<String>,
        now: &BTreeSet<String>,
    ) {
        let themselves = if from.number == to.number {
            from.nodes.len()
        } else {
            0
        };
        let pairs = from.nodes.len() * to.nodes.len() - themselves;
        self.total += u64::try_from(pairs).unwrap_or(u64::MAX);
        let listed = from
            .nodes
            .iter()
            .flat_map(|source| to.nodes.iter().map(move |to| (*source, *to)));
        let room = MOST_PAIRS.saturating_sub(self.pairs.len());
        for pair in listed.filter(|(source, to)| source != to).take(room) {
            self.add(pair, before, now);
        }
    }

    /// Says of a pair what its devices' own access adds to that of their groups.
    fn replace(
        &mut self,
        pair: (u64, u64),
        was_counted: bool,
        before: &BTreeSet<String>,
        now: &BTreeSet<String>,
    ) {
        self.pairs.remove(&pair);
        self.total -= u64::from(was_counted);
        if before != now {
            self.total += 1;
            self.add(pair, before, now);
        }
    }

    fn add(&mut self, pair: (u64, u64), before: &BTreeSet<String>, now: &BTreeSet<String>) {
        if self.pairs.len() >= MOST_PAIRS {
            return;
        }
        let change = PairChange {
            gained: now - before,
            lost: before - now,
        };
        self.pairs.insert(pair, change);
    }
}

/// A rule, wherever in the document it is.
struct Meaning<'r>(&'r Rule);

impl<'r> Meaning<'r> {
    fn parts(&self) -> impl PartialEq + Hash + use<'r> {
        let Rule {
            sources,
            destinations,
            reach,
            services,
            capabilities,
            via,
            covers_internet,
            line: _,
        } = self.0;
        let who = (sources, destinations, reach, via);
        (who, services, capabilities, covers_internet)
    }
}

impl PartialEq for Meaning<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Meaning<'_> {}

impl Hash for Meaning<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

/// Returns the rules of a policy that are not in another, or mean something else there.
fn changed_rules(policy: &Policy, other: &Policy) -> BTreeSet<u32> {
    let mut known: HashMap<Meaning<'_>, usize> = HashMap::new();
    for rule in &other.rules {
        *known.entry(Meaning(rule)).or_default() += 1;
    }
    let differs = |party: &Party| {
        let group = match &party.selector {
            Selector::Group(name) => policy.groups.get(name) != other.groups.get(name),
            _ => false,
        };
        group
            || party
                .postures
                .iter()
                .any(|name| policy.postures.get(name) != other.postures.get(name))
    };
    let mut changed = BTreeSet::new();
    for (number, rule) in (0..).zip(&policy.rules) {
        let is_known = known.get_mut(&Meaning(rule)).is_some_and(|left| {
            let found = *left > 0;
            *left = left.saturating_sub(1);
            found
        });
        let mut parties = rule.sources.iter().chain(&rule.destinations);
        if !is_known || parties.any(differs) {
            changed.insert(number);
        }
    }
    changed
}

fn owner<'c>(compiler: &'c Compiler, node: &Node) -> Option<&'c User> {
    compiler
        .users()
        .get(&node.user)
        .filter(|_| node.tags.is_empty())
}

/// Returns the rules that name a node as a source, and those that name it as a destination.
fn side(compiler: &Compiler, plan: &Plan, node: &Node) -> Side {
    let key = ClassKey::new(plan, node, owner(compiler, node));
    let mut from = key.rules_from(plan);
    from.extend(
        (0..)
            .zip(&plan.rules)
            .filter(|(_, rule)| rule.from_any)
            .map(|(number, _)| number),
    );
    let mut to = ReachedBy::new();
    for (number, rule) in (0..)
        .zip(&plan.rules)
        .filter(|(_, rule)| rule.rule.reach == Reach::Named)
    {
        let reached = key.reached(plan, rule);
        let routed = reached
            .iter()
            .filter(|one| one.own == (false, false))
            .filter_map(Reached::text);
        let routed: Vec<_> = routed.map(str::to_owned).collect();
        let to_any = rule.to_any && rule.via_id == 0;
        if to_any || !reached.is_empty() {
            let is_own = to_any || reached.iter().any(|one| one.own != (false, false));
            to.insert(number, if is_own { Vec::new() } else { routed });
        }
    }
    Side { from, to }
}

/// Returns what the devices of a class may do at other devices of the same user, in words.
fn own_access(plan: &Plan, from: &Side) -> BTreeSet<String> {
    let rules = plan.own.iter().filter(|number| from.from.contains(number));
    rules
        .flat_map(|number| allows(&plan.rule(*number).rule))
        .collect()
}

/// Returns what one class may do at another, in words.
fn access(plan: &Plan, from: &Side, to: &Side) -> BTreeSet<String> {
    let both = to
        .to
        .iter()
        .filter(|(number, _)| from.from.contains(number));
    let words = both.flat_map(|(number, routes)| {
        let allows = allows(&plan.rule(*number).rule);
        let behind = if routes.is_empty() {
            String::new()
        } else {
            format!(" at {}", routes.join(", "))
        };
        allows
            .into_iter()
            .map(move |allowed| format!("{allowed}{behind}"))
    });
    words.collect()
}

fn use_of(rule: &Rule, through_routes: Vec<String>) -> RuleUse {
    RuleUse {
        line: rule.line,
        rule: Words(rule).to_string(),
        allows: allows(rule),
        through_routes,
    }
}

/// Returns what a rule allows: protocols with ports, and names of capabilities.
fn allows(rule: &Rule) -> Vec<String> {
    let services = rule
        .services
        .iter()
        .flat_map(|Service { protocol, ports }| {
            let name = protocol.map_or_else(|| "any".to_owned(), protocol::name);
            ports
                .iter()
                .map(move |ports| format!("{name}:{}", port_text(*ports)))
        });
    services
        .chain(
            rule.capabilities
                .iter()
                .map(|capability| capability.name.clone()),
        )
        .collect()
}

fn port_text(ports: Ports) -> String {
    match ports {
        Ports::ALL => "*".to_owned(),
        Ports { first, last } if first == last => first.to_string(),
        Ports { first, last } => format!("{first}-{last}"),
    }
}

/// A rule in short.
struct Words<'r>(&'r Rule);

impl fmt::Display for Words<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |parties: Vec<&Selector>| {
            let texts: Vec<_> = parties.iter().map(ToString::to_string).collect();
            match &*texts {
                [first, second, third, _, ..] => {
                    format!("{first}, {second}, {third} and {} more", texts.len() - 3)
                }
                _ => texts.join(", "),
            }
        };
        let sources = list(self.0.sources.iter().map(|party| &party.selector).collect());
        let destinations = match self.0.reach {
            Reach::Named => list(
                self.0
                    .destinations
                    .iter()
                    .map(|party| &party.selector)
                    .collect(),
            ),
            Reach::Own | Reach::OwnReversed => Selector::Own.to_string(),
        };
        write!(formatter, "{sources} → {destinations}")?;
        if !self.0.via.is_empty() {
            let tags: Vec<_> = self.0.via.iter().map(String::as_str).collect();
            write!(formatter, " via {}", tags.join(", "))?;
        }
        Ok(())
    }
}

/// Returns the rules as they would be if every device met every posture.
fn without_postures(policy: &Policy) -> Vec<Arc<Rule>> {
    let relaxed = |rule: &Arc<Rule>| {
        if rule.sources.iter().all(|party| party.postures.is_empty()) {
            return Arc::clone(rule);
        }
        let selectors = rule.sources.iter().map(|party| party.selector.clone());
        Arc::new(Rule {
            sources: Arc::new(selectors.map(Party::from).collect()),
            ..Rule::clone(rule)
        })
    };
    policy.rules.iter().map(relaxed).collect()
}
