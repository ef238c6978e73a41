//! Everything that is put out at a moment.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    super::{
        output::{ListChange, ListId, Output, Settings},
        settings::SettingsKey,
    },
    Compiler, Shared,
};

impl Compiler {
    /// Returns everything.
    #[must_use]
    pub fn full(&self) -> Output {
        let mut lists: BTreeMap<ListId, Vec<Arc<str>>> = BTreeMap::new();
        let routes: Vec<Arc<str>> = self
            .routers
            .keys()
            .map(|route| Arc::from(route.to_string()))
            .collect();
        for list in self
            .plan
            .lists
            .all
            .iter()
            .filter(|list| !list.literals.is_empty())
        {
            let elements = lists
                .entry(ListId {
                    id: list.id,
                    user: 0,
                })
                .or_default();
            elements.extend(list.literals.iter().cloned());
            if list.has_routes {
                elements.extend(routes.iter().cloned());
            }
        }
        for placed in self.placed.values() {
            for list in &placed.lists {
                lists
                    .entry(*list)
                    .or_default()
                    .extend(placed.addresses.iter().cloned());
            }
        }
        let filled = |(id, elements): (ListId, Vec<Arc<str>>)| {
            let added = elements.into_iter().collect();
            (
                id,
                ListChange {
                    added,
                    ..ListChange::default()
                },
            )
        };
        Output {
            common_filter: Some(Arc::clone(&self.plan.common_filter)),
            derp_map: Some(Arc::from(
                self.policy.derp_map.as_deref().unwrap_or_default(),
            )),
            classes: self
                .classes
                .iter()
                .map(|(id, kept)| (*id, Some(Arc::clone(&kept.what))))
                .collect(),
            settings: self
                .settings
                .iter()
                .map(|(id, (key, kept))| (*id, Some(self.current(*id, key, kept))))
                .collect(),
            lists: lists.into_iter().map(filled).collect(),
            routes: self
                .routes
                .iter()
                .map(|(route, users)| (*route, Some(Arc::clone(users))))
                .collect(),
            vias: self
                .vias
                .iter()
                .map(|(id, way)| (*id, Some(Arc::clone(way))))
                .collect(),
            nodes: self
                .placed
                .iter()
                .map(|(id, placed)| (*id, Some(placed.membership)))
                .collect(),
        }
    }

    /// Returns settings as they are now.
    pub(super) fn current(
        &self,
        id: u64,
        key: &SettingsKey,
        kept: &Shared<Settings>,
    ) -> Arc<Settings> {
        if !self.outdated.contains(&id) {
            return Arc::clone(&kept.what);
        }
        let plan = &self.settings_plan;
        Arc::new(plan.settings(key, &self.user_lists, &self.users))
    }
}
