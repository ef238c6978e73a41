//! What a node has from the policy besides access: SSH rules and capabilities (policy sections 14 and 17).
//!
//! Nodes that the SSH rules and `nodeAttrs` can not tell apart share one profile. Its key is the selectors that select
//! the node, and a few facts that matter only under some policies. Example: under `"nodeAttrs": [{"target": ["tag:web"],
//! "attr": ["funnel"]}]` all nodes with `tag:web` share a profile with `funnel`, and all others share an empty one.

mod ssh;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    hash,
    list::ListPlan,
    output::{ListId, NodeProfile},
    selector_table::SelectorTable,
};
use crate::{
    attribute::AttributeValue,
    inventory::{PolicyNode, PolicyUser},
    policy::{Capability, NodeAttribute, Policy},
    selector::Selector,
};
use ssh::PlannedSshRule;

/// What `funnel` brings with it (policy section 17.3).
const FUNNEL: [&str; 2] = [
    "https://tailscale.com/cap/funnel-ports?ports=443,8443,10000",
    "https://tailscale.com/cap/warn-funnel-no-https",
];

/// How often a node with several tags is named at most in an SSH rule. The hosted service names it once for each of its
/// tags; clients do not care (policy section 14.2).
const MOST_REPEATS: usize = 4;

/// The SSH rules and `nodeAttrs` of a policy, with their selectors by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProfilePlan {
    selectors: SelectorTable,
    pub(super) lists: ListPlan,
    ssh_rules: Vec<PlannedSshRule>,
    attributes: Vec<PlannedAttribute>,
    /// Capabilities of every node.
    common_capabilities: Vec<Capability>,
    /// A capability of macOS nodes.
    one_cgnat: Option<Capability>,
    /// Whether no node has an IPv4 address.
    hides_ipv4: bool,
    /// Whether the profile of a node depends on its user.
    depends_on_user: bool,
}

/// An entry of `nodeAttrs`.
#[derive(Clone, Debug)]
struct PlannedAttribute {
    targets: Vec<u32>,
    is_for_all: bool,
    capabilities: Vec<Capability>,
}

/// What a profile depends on: nodes with the same key have the same profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProfileKey {
    selectors: Vec<u32>,
    /// The owner; zero where it does not matter.
    user: u64,
    is_exit: bool,
    /// How many tags the node has, as far as that matters.
    tags: usize,
    /// Whether it runs macOS; `false` where that does not matter.
    is_macos: bool,
}

impl ProfilePlan {
    pub(crate) fn new(policy: &Policy) -> Self {
        let mut plan = Self {
            depends_on_user: policy
                .ssh
                .iter()
                .any(|rule| rule.to_own || !rule.localparts.is_empty()),
            hides_ipv4: policy.switches.disable_ipv4,
            common_capabilities: common_capabilities(policy),
            one_cgnat: one_cgnat_capability(policy),
            ..Self::default()
        };
        for rule in &policy.ssh {
            let planned = PlannedSshRule::new(rule, &mut plan.selectors, &mut plan.lists);
            plan.ssh_rules.push(planned);
        }
        for attribute in &policy.attributes {
            let planned = plan.plan_attribute(attribute);
            plan.attributes.push(planned);
        }
        plan.selectors.index(policy);
        plan.lists.index(plan.selectors.ids.len());
        plan
    }

    fn plan_attribute(&mut self, attribute: &NodeAttribute) -> PlannedAttribute {
        let mut targets = Vec::new();
        for target in &attribute.targets {
            if *target != Selector::Any {
                targets.push(self.selectors.intern(&target.clone().into()));
            }
        }
        PlannedAttribute {
            targets,
            is_for_all: attribute.targets.contains(&Selector::Any),
            capabilities: attribute.capabilities.clone(),
        }
    }

    /// Returns what a node's profile depends on.
    pub(crate) fn profile_key(&self, node: &PolicyNode, user: Option<&PolicyUser>) -> ProfileKey {
        let runs_macos = || {
            let os = node.attributes.get("node:os");
            os == Some(&AttributeValue::Text("macos".to_owned()))
        };
        let counted_tags = if self.depends_on_user {
            MOST_REPEATS
        } else {
            1
        };
        ProfileKey {
            selectors: self.selectors.selectors_of_node(node, user),
            user: match user {
                Some(user) if self.depends_on_user => user.id,
                _ => 0,
            },
            is_exit: node.is_exit(),
            tags: node.tags.len().min(counted_tags),
            is_macos: self.one_cgnat.is_some() && runs_macos(),
        }
    }

    /// Returns the lists of SSH sources that a node is in; `user` is its owner, zero for a tagged node.
    pub(crate) fn lists_of_node(
        &self,
        node: &PolicyNode,
        key: &ProfileKey,
        user: u64,
    ) -> BTreeSet<ListId> {
        let mut lists = self.lists.lists_of_node(&key.selectors, user);
        let times = node.tags.len().min(MOST_REPEATS);
        for rule in &self.ssh_rules {
            lists.extend(rule.repeated_lists(key, times));
        }
        lists
    }

    /// Returns the lists whose users a profile names by their logins: it changes when one of them does.
    pub(super) fn lists_of_named_users(&self, key: &ProfileKey) -> impl Iterator<Item = u64> {
        let rules = self.ssh_rules.iter();
        let naming = rules.filter(|rule| rule.names_users() && rule.is_to(key));
        naming.map(|rule| rule.list_of_user)
    }

    /// Returns the user whose devices have the profile, where it may name that user by the login.
    pub(super) fn user_named_by(&self, key: &ProfileKey) -> Option<u64> {
        let is_named = self.ssh_rules.iter().any(PlannedSshRule::names_users);
        (is_named && key.user != 0).then_some(key.user)
    }

    /// Returns the profile of a key. `user_lists` are the lists of single users that have elements, and `users` knows
    /// their logins.
    pub(crate) fn compile_profile(
        &self,
        key: &ProfileKey,
        user_lists: &BTreeMap<ListId, u64>,
        users: &BTreeMap<u64, PolicyUser>,
    ) -> NodeProfile {
        let capabilities = self.compile_capabilities(key);
        let hide_ipv4 = self.hides_ipv4 || capabilities.contains_key("disable-ipv4");
        // Clients look for these two at their peers: which of them answer for all names below their own, and which are
        // exit nodes.
        let mut peer_capabilities = Vec::new();
        if capabilities.contains_key("dns-subdomain-resolve") {
            peer_capabilities.push(null_capability("dns-subdomain-resolve"));
        }
        if key.is_exit {
            peer_capabilities.push(null_capability("suggest-exit-node"));
        }
        let mut ssh = Vec::new();
        for rule in &self.ssh_rules {
            rule.add_rules(key, user_lists, users, &mut ssh);
        }
        // Checks come first (policy section 14.2).
        ssh.sort_by_key(|rule| !rule.check);
        NodeProfile {
            ssh,
            capabilities: capabilities
                .into_iter()
                .map(|(name, values)| Capability { name, values })
                .collect(),
            peer_capabilities,
            hide_ipv4,
        }
    }

    /// Returns the capabilities of the node itself; the values of several entries are joined.
    fn compile_capabilities(&self, key: &ProfileKey) -> BTreeMap<String, Option<Vec<String>>> {
        let mut capabilities: BTreeMap<String, Option<Vec<String>>> = BTreeMap::new();
        let mut add = |capability: &Capability| {
            let values = capabilities.entry(capability.name.clone()).or_default();
            if let Some(more) = &capability.values {
                values.get_or_insert_default().extend(more.iter().cloned());
            }
        };
        for attribute in &self.attributes {
            let is_target = attribute.targets.iter().any(|one| key.has_selector(*one));
            if attribute.is_for_all || is_target {
                attribute.capabilities.iter().for_each(&mut add);
            }
        }
        self.common_capabilities.iter().for_each(&mut add);
        if let (true, Some(capability)) = (key.is_macos, &self.one_cgnat) {
            add(capability);
        }
        if capabilities.contains_key("funnel") {
            capabilities.extend(FUNNEL.map(|name| (name.to_owned(), None)));
        }
        capabilities
    }
}

impl ProfileKey {
    /// Returns the id of the profile: the same on every replica.
    pub(crate) fn id(&self, plan: &ProfilePlan) -> u64 {
        let selectors = self.selectors.iter();
        let mut ids: Vec<_> = selectors
            .map(|selector| plan.selectors.ids[*selector as usize])
            .collect();
        ids.sort_unstable();
        ids.push(self.user);
        let tags = u64::try_from(self.tags).unwrap_or(u64::MAX);
        ids.push(u64::from(self.is_exit) | u64::from(self.is_macos) << 1 | tags << 2);
        hash("settings", ids.into_iter().map(u64::to_be_bytes))
    }

    fn has_selector(&self, selector: u32) -> bool {
        self.selectors.binary_search(&selector).is_ok()
    }
}

fn common_capabilities(policy: &Policy) -> Vec<Capability> {
    let mut capabilities = Vec::new();
    if policy.switches.randomize_client_port {
        capabilities.push(null_capability("randomize-client-port"));
    }
    capabilities
}

/// Returns what tells macOS nodes how to route the block of tailnet addresses (policy section 17.5).
fn one_cgnat_capability(policy: &Policy) -> Option<Capability> {
    let name = if policy.switches.one_cgnat_route? {
        "one-cgnat?v=true"
    } else {
        "one-cgnat?v=false"
    };
    Some(null_capability(name))
}

fn null_capability(name: &str) -> Capability {
    Capability {
        name: name.to_owned(),
        values: None,
    }
}
