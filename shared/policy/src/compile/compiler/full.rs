//! Everything that is put out at a moment.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    super::output::{ListChange, ListId, Output},
    Compiler,
};

impl Compiler {
    /// Returns everything.
    #[must_use]
    pub fn full(&self) -> Output {
        let outdated = self.outdated();
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
                .map(|(id, (key, kept))| {
                    let what = match outdated.contains(id) {
                        true => Arc::new(self.worked_out(key)),
                        false => Arc::clone(&kept.what),
                    };
                    (*id, Some(what))
                })
                .collect(),
            lists: self.filled_lists(),
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

    fn filled_lists(&self) -> BTreeMap<ListId, ListChange> {
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
        lists.into_iter().map(filled).collect()
    }
}
