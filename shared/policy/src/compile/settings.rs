//! What the policy sets on nodes besides who reaches them: SSH rules and capabilities (policy sections 14
//! and 17).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    hash,
    list::{ListPlan, SourceList},
    output::{ListId, Principals, Settings, SshLogin},
    party::Parties,
};
use crate::{
    inventory::{Node, User},
    policy::{Capability, Policy, SshRule},
    posture::AttributeValue,
    selector::Selector,
};

/// The account that the rules of `localpart:` add to their own.
const ROOT: &str = "root";
/// What `funnel` brings with it (policy section 17.3).
const FUNNEL: [&str; 2] = [
    "https://tailscale.com/cap/funnel-ports?ports=443,8443,10000",
    "https://tailscale.com/cap/warn-funnel-no-https",
];

/// How often a node with several tags is listed at most: the hosted service lists it once for each of its tags, which
/// changes nothing for clients (policy section 14.2).
const REPEATS: usize = 4;

/// The kinds of lists of all sources.
const EVERYBODY: [&str; REPEATS] = [
    "logins",
    "logins with two tags",
    "logins with three tags",
    "logins with four tags",
];

/// The kinds of lists of tagged sources.
const TAGGED: [&str; REPEATS] = [
    "logins of tags",
    "logins of two tags",
    "logins of three tags",
    "logins of four tags",
];

/// The SSH rules and capabilities of a policy, by parties.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingsPlan {
    pub(super) parties: Parties,
    pub(super) lists: ListPlan,
    rules: Vec<PlannedLogin>,
    attributes: Vec<PlannedAttribute>,
    /// Capabilities of every node.
    common: Vec<Capability>,
    /// A capability of macOS nodes.
    one_cgnat: Option<Capability>,
    hide_ipv4: bool,
    /// Whether the user of a node matters.
    has_own: bool,
}

/// An SSH rule by parties.
#[derive(Clone, Debug)]
struct PlannedLogin {
    rule: SshRule,
    sources: Vec<u32>,
    destinations: Vec<u32>,
    /// All source nodes; then those with two tags, with three, with four.
    everybody: [u64; REPEATS],
    /// The source nodes of one user, a list each.
    each: u64,
    /// The tagged source nodes; then those with two tags, with three, with four.
    tagged: [u64; REPEATS],
    /// The recording nodes.
    recorders: Option<ListId>,
    /// SSH user to local user, without the users' own names.
    accounts: Arc<[(String, String)]>,
    accept_env: Arc<[String]>,
}

#[derive(Clone, Debug)]
struct PlannedAttribute {
    targets: Vec<u32>,
    all: bool,
    capabilities: Vec<Capability>,
}

/// What makes nodes have the same settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettingsKey {
    selected: Vec<u32>,
    /// The owner, where it matters.
    user: u64,
    is_exit: bool,
    /// How many tags it has, as far as it matters.
    tags: usize,
    /// Whether it runs macOS, where that matters.
    is_macos: bool,
}

impl SettingsPlan {
    pub(crate) fn new(policy: &Policy) -> Self {
        let mut plan = Self {
            has_own: policy
                .ssh
                .iter()
                .any(|rule| rule.to_own || !rule.localparts.is_empty()),
            hide_ipv4: policy.switches.disable_ipv4,
            common: common(policy),
            one_cgnat: one_cgnat(policy),
            ..Self::default()
        };
        for rule in &policy.ssh {
            let planned = plan.login(rule);
            plan.rules.push(planned);
        }
        for attribute in &policy.attributes {
            let targets = attribute.targets.iter();
            let targets = targets.filter(|target| **target != Selector::Any);
            plan.attributes.push(PlannedAttribute {
                targets: targets
                    .map(|target| plan.parties.intern(&target.clone().into()))
                    .collect(),
                all: attribute.targets.contains(&Selector::Any),
                capabilities: attribute.capabilities.clone(),
            });
        }
        plan.parties.index(policy);
        plan.lists.index(plan.parties.ids.len());
        plan
    }

    fn login(&mut self, rule: &SshRule) -> PlannedLogin {
        let mut sources: Vec<_> = rule
            .sources
            .iter()
            .map(|party| self.parties.intern(party))
            .collect();
        sources.sort_unstable();
        let destinations = rule.destinations.iter();
        let destinations = destinations
            .map(|named| self.parties.intern(&named.clone().into()))
            .collect();
        let ids: Vec<_> = sources
            .iter()
            .map(|party| self.parties.ids[*party as usize].to_be_bytes())
            .collect();
        let mut list = |kind: &str, per_user, tagged_only, parties: &[u32]| {
            let id = hash(kind, &ids);
            let list = SourceList {
                id,
                per_user,
                tagged_only,
                ..SourceList::default()
            };
            self.lists.add(list, parties)
        };
        // Nodes are in the repeated ones by their tags, not by party.
        let mut repeated = |kinds: [&str; REPEATS], tagged_only| {
            kinds.map(|kind| {
                let parties = if kind == kinds[0] { &*sources } else { &[] };
                list(kind, false, tagged_only, parties)
            })
        };
        let everybody = repeated(EVERYBODY, false);
        let tagged = repeated(TAGGED, true);
        let each = list("logins of a user", true, false, &sources);
        let recorders = (!rule.recorders.is_empty()).then(|| {
            let tags = rule
                .recorders
                .iter()
                .map(|tag| Selector::Tag(tag.clone()).into());
            let tags: Vec<_> = tags.map(|tag| self.parties.intern(&tag)).collect();
            let id = hash("recorders", &rule.recorders);
            let list = SourceList {
                id,
                ..SourceList::default()
            };
            ListId {
                id: self.lists.add(list, &tags),
                user: 0,
            }
        });
        PlannedLogin {
            rule: rule.clone(),
            sources,
            destinations,
            everybody,
            each,
            tagged,
            recorders,
            accounts: accounts(rule),
            accept_env: rule.accept_env.clone().unwrap_or_default().into(),
        }
    }

    /// Returns the lists that a node is in; `user` is its owner, zero for a tagged node.
    pub(crate) fn fed(&self, node: &Node, key: &SettingsKey, user: u64) -> BTreeSet<ListId> {
        let mut lists = self.lists.fed(&key.selected, user);
        let times = node.tags.len().min(REPEATS);
        for planned in self.rules.iter().filter(|_| times > 1) {
            if planned.sources.iter().any(|party| key.is(*party)) {
                let again = planned.everybody[1..times].iter();
                let again = again.chain(&planned.tagged[1..times]);
                lists.extend(again.map(|id| ListId { id: *id, user: 0 }));
            }
        }
        lists
    }

    /// Returns the lists of users that settings say may log in under their own names.
    pub(super) fn named_by(&self, key: &SettingsKey) -> impl Iterator<Item = u64> {
        let rules = self.rules.iter();
        let rules = rules.filter(|planned| !planned.rule.localparts.is_empty());
        let rules = rules.filter(|planned| planned.destinations.iter().any(|party| key.is(*party)));
        rules.map(|planned| planned.each)
    }

    /// Returns the user whose own name settings may say.
    pub(super) fn named_self(&self, key: &SettingsKey) -> Option<u64> {
        let mut rules = self.rules.iter();
        let is_named = rules.any(|planned| !planned.rule.localparts.is_empty());
        (is_named && key.user != 0).then_some(key.user)
    }

    pub(crate) fn key(&self, node: &Node, user: Option<&User>) -> SettingsKey {
        SettingsKey {
            selected: self.parties.selected(node, user),
            user: user.filter(|_| self.has_own).map_or(0, |user| user.id),
            is_exit: node.is_exit(),
            tags: node.tags.len().min(if self.has_own { REPEATS } else { 1 }),
            is_macos: self.one_cgnat.is_some()
                && node.attributes.get("node:os")
                    == Some(&AttributeValue::Text("macos".to_owned())),
        }
    }

    /// Returns what nodes with a key are set; `users` has those whose devices are in lists of theirs, by list.
    pub(crate) fn settings(
        &self,
        key: &SettingsKey,
        users: &BTreeMap<ListId, u64>,
        logins: &BTreeMap<u64, User>,
    ) -> Settings {
        let mut capabilities: BTreeMap<String, Option<Vec<String>>> = BTreeMap::new();
        let matching = self.attributes.iter().filter(|attribute| {
            attribute.all || attribute.targets.iter().any(|target| key.is(*target))
        });
        let named = matching.flat_map(|attribute| &attribute.capabilities);
        let one_cgnat = self.one_cgnat.iter().filter(|_| key.is_macos);
        for capability in named.chain(&self.common).chain(one_cgnat) {
            let values = capabilities.entry(capability.name.clone()).or_default();
            if let Some(more) = &capability.values {
                values.get_or_insert_default().extend(more.iter().cloned());
            }
        }
        if capabilities.contains_key("funnel") {
            capabilities.extend(FUNNEL.map(|name| (name.to_owned(), None)));
        }
        let hide_ipv4 = self.hide_ipv4 || capabilities.contains_key("disable-ipv4");
        // Clients look for these at their peers: which of them answer all names below their own, and which are exit nodes,
        // with the attribute or without.
        let subdomains = capabilities.contains_key("dns-subdomain-resolve");
        let of_peers = [
            subdomains.then(|| switch("dns-subdomain-resolve")),
            key.is_exit.then(|| switch("suggest-exit-node")),
        ];
        Settings {
            ssh: self.ssh(key, users, logins),
            capabilities: capabilities
                .into_iter()
                .map(|(name, values)| Capability { name, values })
                .collect(),
            peer_capabilities: of_peers.into_iter().flatten().collect(),
            hide_ipv4,
        }
    }

    fn ssh(
        &self,
        key: &SettingsKey,
        users: &BTreeMap<ListId, u64>,
        logins: &BTreeMap<u64, User>,
    ) -> Vec<SshLogin> {
        let mut ssh = Vec::new();
        for planned in &self.rules {
            planned.logins(key, users, logins, &mut ssh);
        }
        // Checks come first (policy section 14.2).
        ssh.sort_by_key(|login| !login.check);
        ssh
    }
}

impl SettingsKey {
    /// Returns the number of the settings: the same on every replica.
    pub(crate) fn id(&self, plan: &SettingsPlan) -> u64 {
        let mut ids: Vec<_> = self
            .selected
            .iter()
            .map(|party| plan.parties.ids[*party as usize])
            .collect();
        ids.sort_unstable();
        ids.push(self.user);
        let tags = u64::try_from(self.tags).unwrap_or(u64::MAX);
        ids.push(u64::from(self.is_exit) | u64::from(self.is_macos) << 1 | tags << 2);
        hash("settings", ids.into_iter().map(u64::to_be_bytes))
    }

    fn is(&self, party: u32) -> bool {
        self.selected.binary_search(&party).is_ok()
    }
}

impl PlannedLogin {
    /// Adds what the rule means for a node (policy section 14.2).
    fn logins(
        &self,
        key: &SettingsKey,
        users: &BTreeMap<ListId, u64>,
        logins: &BTreeMap<u64, User>,
        ssh: &mut Vec<SshLogin>,
    ) {
        let own = ListId {
            id: self.each,
            user: key.user,
        };
        let is_own = self.rule.to_own && key.user != 0;
        if is_own && self.rule.localparts.is_empty() {
            ssh.push(self.login(Principals::Lists(vec![own])));
        } else if is_own {
            self.user_logins(own, logins, ssh);
        }
        if self.destinations.iter().any(|party| key.is(*party)) {
            if self.rule.localparts.is_empty() {
                ssh.push(self.login(all_of(self.everybody)));
                return;
            }
            let first = ListId {
                id: self.each,
                user: 0,
            };
            let last = ListId {
                id: self.each,
                user: u64::MAX,
            };
            for list in users.range(first..=last).map(|(list, _)| *list) {
                self.user_logins(list, logins, ssh);
            }
            ssh.push(self.login(all_of(self.tagged)));
            return;
        }
        // The hosted service tells sources of such a rule about themselves; nobody gains by it.
        let is_source = self.sources.iter().any(|party| key.is(*party));
        if self.rule.localparts.is_empty() || is_own || !is_source {
            return;
        }
        if key.tags > 0 {
            ssh.push(self.login(Principals::Itself(key.tags)));
        } else {
            self.user_logins(own, logins, ssh);
        }
    }

    /// Adds what one source user may log in as.
    fn user_logins(&self, list: ListId, logins: &BTreeMap<u64, User>, ssh: &mut Vec<SshLogin>) {
        ssh.push(self.login(Principals::Lists(vec![list])));
        let parts = logins
            .get(&list.user)
            .and_then(|user| user.login_name.split_once('@'));
        if let Some((local, domain)) = parts
            && self
                .rule
                .localparts
                .iter()
                .any(|wanted| wanted.eq_ignore_ascii_case(domain))
        {
            let account = [(local.to_owned(), local.to_owned())];
            ssh.push(SshLogin {
                users: account.into(),
                ..self.login(Principals::Lists(vec![list]))
            });
        }
    }

    fn login(&self, principals: Principals) -> SshLogin {
        SshLogin {
            principals,
            users: Arc::clone(&self.accounts),
            check: self.rule.check,
            accept_env: Arc::clone(&self.accept_env),
            recorders: self.recorders,
            enforce_recorder: self.rule.enforce_recorder,
        }
    }
}

/// Returns the accounts that a rule names itself.
fn accounts(rule: &SshRule) -> Arc<[(String, String)]> {
    let root = if rule.users.contains(ROOT) { ROOT } else { "" };
    let mut accounts = BTreeMap::from([(ROOT.to_owned(), root.to_owned())]);
    if rule.nonroot {
        accounts.insert("*".to_owned(), "=".to_owned());
    }
    accounts.extend(rule.users.iter().map(|user| (user.clone(), user.clone())));
    accounts.into_iter().collect()
}

/// Returns the nodes of some lists that are not a user's.
fn all_of(lists: [u64; REPEATS]) -> Principals {
    Principals::Lists(lists.map(|id| ListId { id, user: 0 }).to_vec())
}

fn common(policy: &Policy) -> Vec<Capability> {
    let mut names = BTreeSet::new();
    if policy.switches.randomize_client_port {
        names.insert("randomize-client-port");
    }
    names.into_iter().map(switch).collect()
}

/// Returns what macOS nodes are told of the route of all tailnet addresses (policy section 17.5).
fn one_cgnat(policy: &Policy) -> Option<Capability> {
    let name = if policy.switches.one_cgnat_route? {
        "one-cgnat?v=true"
    } else {
        "one-cgnat?v=false"
    };
    Some(switch(name))
}

fn switch(name: &str) -> Capability {
    Capability {
        name: name.to_owned(),
        values: None,
    }
}
