//! What differs between two views: enough to tell a session what it lost without the view it had.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bowline_proto::policy::v1::Class;

use super::view::{Shown, View};

/// The difference between a view and the one before it, or between two views further apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeSet {
    /// Each node that differs, as it was; `None` for one that was not shown.
    pub nodes: BTreeMap<u64, Option<Shown>>,
    /// Each class whose definition differs, as it was; `None` for a new one.
    pub classes: BTreeMap<u64, Option<Arc<Class>>>,
    /// Source lists that differ.
    pub source_lists: BTreeSet<u64>,
    /// Users that differ.
    pub users: BTreeSet<u64>,
    /// Whether settings of the tailnet differ.
    pub tailnet: bool,
}

impl ChangeSet {
    /// Says whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Extends the difference by that of a later view: what came first says how it was.
    pub fn extend(&mut self, later: &Self) {
        for (id, before) in &later.nodes {
            self.nodes.entry(*id).or_insert_with(|| before.clone());
        }
        for (id, before) in &later.classes {
            self.classes.entry(*id).or_insert_with(|| before.clone());
        }
        self.source_lists.extend(&later.source_lists);
        self.users.extend(&later.users);
        self.tailnet |= later.tailnet;
    }

    /// Returns the classes of which some session has to look again, or `None` for all of them.
    ///
    /// Visibility is symmetric, so those who see a class are those it sees.
    #[must_use]
    pub fn affected(&self, view: &View) -> Option<BTreeSet<u64>> {
        if self.tailnet || !self.users.is_empty() {
            return None;
        }
        let mut affected = BTreeSet::new();
        for (id, before) in &self.nodes {
            for shown in before.iter().chain(view.nodes.get(id)) {
                self.add_viewers(view, shown.class, &mut affected);
            }
        }
        affected.extend(self.classes.keys());
        if !self.source_lists.is_empty() {
            let uses = |class: &Class| {
                class
                    .filter
                    .iter()
                    .any(|rule| self.source_lists.contains(&rule.source_list_id))
            };
            affected.extend(
                view.classes
                    .iter()
                    .filter(|(_, class)| uses(class))
                    .map(|(id, _)| id),
            );
        }
        Some(affected)
    }

    fn add_viewers(&self, view: &View, class: u64, affected: &mut BTreeSet<u64>) {
        affected.insert(class);
        let before = self.classes.get(&class).and_then(Option::as_ref);
        for definition in before.into_iter().chain(view.classes.get(&class)) {
            affected.extend(definition.visible.iter().map(|visible| visible.class_id));
        }
    }
}
