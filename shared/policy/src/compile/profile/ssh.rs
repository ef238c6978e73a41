//! SSH rules: from a rule of the document to the rules of one node (policy section 14.2).
//!
//! Sources are named by lists, so that a new device changes a list and no rule. A rule has several lists, because what a
//! node is told differs. Example: `autogroup:member, tag:ci → tag:web` as `localpart:*@example.com`. A web server has
//! one rule for each source user, with that user's list, and one rule with the list of tagged sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    super::{
        hash,
        list::{ListPlan, SourceList},
        output::{CompiledSshRule, ListId, SshPrincipals},
        selector_table::SelectorTable,
    },
    MOST_REPEATS, ProfileKey,
};
use crate::{
    inventory::PolicyUser,
    policy::{PosturedSelector, SshPolicyRule},
    selector::Selector,
};

const ROOT: &str = "root";

/// The kinds of lists of all sources: everybody, then those with at least two tags, three, four.
const KINDS_OF_ALL: [&str; MOST_REPEATS] = [
    "logins",
    "logins with two tags",
    "logins with three tags",
    "logins with four tags",
];

/// The kinds of lists of tagged sources: all, then those with at least two tags, three, four.
const KINDS_OF_TAGGED: [&str; MOST_REPEATS] = [
    "logins of tags",
    "logins of two tags",
    "logins of three tags",
    "logins of four tags",
];

/// An SSH rule of the document, with its selectors by number.
#[derive(Clone, Debug)]
pub(super) struct PlannedSshRule {
    rule: SshPolicyRule,
    sources: Vec<u32>,
    destinations: Vec<u32>,
    /// All source nodes; then those with at least two tags, with three, with four.
    lists_of_all: [u64; MOST_REPEATS],
    /// The source nodes of one user: one list for each user.
    pub(super) list_of_user: u64,
    /// The tagged source nodes; then those with at least two tags, with three, with four.
    lists_of_tagged: [u64; MOST_REPEATS],
    /// The recording nodes.
    recorders: Option<ListId>,
    /// Asked account to local account, without the users' own names.
    accounts: Arc<[(String, String)]>,
    accept_env: Arc<[String]>,
}

impl PlannedSshRule {
    /// Numbers the selectors of a rule and adds its lists.
    pub(super) fn new(
        rule: &SshPolicyRule,
        selectors: &mut SelectorTable,
        lists: &mut ListPlan,
    ) -> Self {
        let mut intern = |selector: &PosturedSelector| selectors.intern(selector);
        let mut sources: Vec<_> = rule.sources.iter().map(&mut intern).collect();
        sources.sort_unstable();
        let destinations = rule.destinations.iter();
        let destinations = destinations.map(|one| intern(&one.clone().into()));
        let destinations = destinations.collect();
        let recorders: Vec<_> = rule
            .recorders
            .iter()
            .map(|tag| intern(&Selector::Tag(tag.clone()).into()))
            .collect();
        let ids = sources.iter().map(|one| selectors.ids[*one as usize]);
        let ids: Vec<_> = ids.map(u64::to_be_bytes).collect();
        let new_list = |kind: &str| SourceList {
            id: hash(kind, &ids),
            ..SourceList::default()
        };
        // The first list of each kind is fed by selectors, the others by the number of tags: see `repeated_lists`.
        let lists_of_all = KINDS_OF_ALL.map(|kind| {
            let feeding = if kind == KINDS_OF_ALL[0] {
                &*sources
            } else {
                &[]
            };
            lists.add(new_list(kind), feeding)
        });
        let lists_of_tagged = KINDS_OF_TAGGED.map(|kind| {
            let feeding = if kind == KINDS_OF_TAGGED[0] {
                &*sources
            } else {
                &[]
            };
            let list = SourceList {
                tagged_only: true,
                ..new_list(kind)
            };
            lists.add(list, feeding)
        });
        let list_of_user = SourceList {
            per_user: true,
            ..new_list("logins of a user")
        };
        let recording = SourceList {
            id: hash("recorders", &rule.recorders),
            ..SourceList::default()
        };
        Self {
            rule: rule.clone(),
            lists_of_all,
            list_of_user: lists.add(list_of_user, &sources),
            lists_of_tagged,
            recorders: (!rule.recorders.is_empty()).then(|| ListId {
                id: lists.add(recording, &recorders),
                user: 0,
            }),
            sources,
            destinations,
            accounts: account_table(rule),
            accept_env: rule.accept_env.clone().unwrap_or_default().into(),
        }
    }

    /// Says whether the rule lets users in under their own names.
    pub(super) fn names_users(&self) -> bool {
        !self.rule.localparts.is_empty()
    }

    /// Says whether nodes with a key are destinations, other than as devices of the same user.
    pub(super) fn is_to(&self, key: &ProfileKey) -> bool {
        self.destinations.iter().any(|one| key.has_selector(*one))
    }

    fn is_from(&self, key: &ProfileKey) -> bool {
        self.sources.iter().any(|one| key.has_selector(*one))
    }

    /// Returns the lists that a source with several tags is in beside the first ones: it is named once for each tag.
    pub(super) fn repeated_lists(&self, key: &ProfileKey, tags: usize) -> BTreeSet<ListId> {
        let mut lists = BTreeSet::new();
        if tags > 1 && self.is_from(key) {
            let repeated = self.lists_of_all[1..tags].iter();
            let repeated = repeated.chain(&self.lists_of_tagged[1..tags]);
            lists.extend(repeated.map(|id| ListId { id: *id, user: 0 }));
        }
        lists
    }

    /// Adds what the rule means for nodes with a key.
    pub(super) fn add_rules(
        &self,
        key: &ProfileKey,
        user_lists: &BTreeMap<ListId, u64>,
        users: &BTreeMap<u64, PolicyUser>,
        rules: &mut Vec<CompiledSshRule>,
    ) {
        let own_list = self.user_list(key.user);
        let is_own = self.rule.to_own && key.user != 0;
        if is_own {
            self.add_rules_of_user(own_list, users, rules);
        }
        if self.is_to(key) {
            self.add_rules_of_all(user_lists, users, rules);
            return;
        }
        // The hosted service also tells sources of such a rule about themselves; nobody gains anything by it.
        if self.names_users() && !is_own && self.is_from(key) {
            if key.tags > 0 {
                rules.push(self.compile_rule(SshPrincipals::Itself(key.tags)));
            } else {
                self.add_rules_of_user(own_list, users, rules);
            }
        }
    }

    /// Adds the rules of a destination: one for all sources, or one for each user where users have accounts of their own.
    fn add_rules_of_all(
        &self,
        user_lists: &BTreeMap<ListId, u64>,
        users: &BTreeMap<u64, PolicyUser>,
        rules: &mut Vec<CompiledSshRule>,
    ) {
        if !self.names_users() {
            rules.push(self.compile_rule(name_lists(self.lists_of_all)));
            return;
        }
        let of_this_rule = self.user_list(0)..=self.user_list(u64::MAX);
        for (list, _) in user_lists.range(of_this_rule) {
            self.add_rules_of_user(*list, users, rules);
        }
        rules.push(self.compile_rule(name_lists(self.lists_of_tagged)));
    }

    /// Adds the rule of one source user and, where the login has the right domain, a rule for the account of that name.
    fn add_rules_of_user(
        &self,
        list: ListId,
        users: &BTreeMap<u64, PolicyUser>,
        rules: &mut Vec<CompiledSshRule>,
    ) {
        rules.push(self.compile_rule(SshPrincipals::Lists(vec![list])));
        let login = users.get(&list.user).map(|user| &user.login_name);
        let Some((account, domain)) = login.and_then(|login| login.split_once('@')) else {
            return;
        };
        let mut domains = self.rule.localparts.iter();
        if domains.any(|wanted| wanted.eq_ignore_ascii_case(domain)) {
            rules.push(CompiledSshRule {
                users: [(account.to_owned(), account.to_owned())].into(),
                ..self.compile_rule(SshPrincipals::Lists(vec![list]))
            });
        }
    }

    fn user_list(&self, user: u64) -> ListId {
        ListId {
            id: self.list_of_user,
            user,
        }
    }

    fn compile_rule(&self, principals: SshPrincipals) -> CompiledSshRule {
        CompiledSshRule {
            principals,
            users: Arc::clone(&self.accounts),
            check: self.rule.check,
            check_period: self.rule.check_period,
            accept_env: Arc::clone(&self.accept_env),
            recorders: self.recorders,
            enforce_recorder: self.rule.enforce_recorder,
        }
    }
}

/// Returns the accounts that a rule names itself.
fn account_table(rule: &SshPolicyRule) -> Arc<[(String, String)]> {
    let root = if rule.users.contains(ROOT) { ROOT } else { "" };
    let mut accounts = BTreeMap::from([(ROOT.to_owned(), root.to_owned())]);
    if rule.nonroot {
        accounts.insert("*".to_owned(), "=".to_owned());
    }
    accounts.extend(rule.users.iter().map(|user| (user.clone(), user.clone())));
    accounts.into_iter().collect()
}

/// Names the nodes of lists that are not of one user.
fn name_lists(lists: [u64; MOST_REPEATS]) -> SshPrincipals {
    SshPrincipals::Lists(lists.map(|id| ListId { id, user: 0 }).to_vec())
}
