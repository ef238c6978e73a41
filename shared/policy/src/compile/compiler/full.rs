//! The whole output at a moment.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    super::output::{ListChange, ListId, Output},
    Compiler,
};

impl Compiler {
    /// Returns the whole output.
    #[must_use]
    pub fn full_output(&self) -> Output {
        let derp_map = self.policy.derp_map.as_deref().unwrap_or_default();
        let to_compile = self.profiles_to_compile();
        let profile = |(id, profile): (&u64, &super::KeyedProfile)| {
            let value = if to_compile.contains(id) {
                Arc::new(self.compile_profile(&profile.key))
            } else {
                Arc::clone(&profile.shared.value)
            };
            (*id, Some(value))
        };
        let classes = self.classes.iter();
        let nodes = self.placements.iter();
        Output {
            common_filter: Some(Arc::clone(&self.plan.common_filter)),
            derp_map: Some(Arc::from(derp_map)),
            classes: classes
                .map(|(id, class)| (*id, Some(Arc::clone(&class.value))))
                .collect(),
            profiles: self.profiles.iter().map(profile).collect(),
            lists: self.filled_lists(),
            routes: share_values(&self.routes),
            vias: share_values(&self.vias),
            nodes: nodes
                .map(|(id, placement)| (*id, Some(placement.membership)))
                .collect(),
        }
    }

    /// Returns the elements of every list that has some.
    fn filled_lists(&self) -> BTreeMap<ListId, ListChange> {
        let mut lists: BTreeMap<ListId, Vec<Arc<str>>> = BTreeMap::new();
        let routes = self.routers.keys();
        let routes: Vec<Arc<str>> = routes.map(|route| Arc::from(route.to_string())).collect();
        for list in &self.plan.lists.all {
            if list.literals.is_empty() {
                continue;
            }
            let id = ListId {
                id: list.id,
                user: 0,
            };
            let elements = lists.entry(id).or_default();
            elements.extend(list.literals.iter().cloned());
            if list.has_routes {
                elements.extend(routes.iter().cloned());
            }
        }
        for placement in self.placements.values() {
            for list in &placement.lists {
                let elements = lists.entry(*list).or_default();
                elements.extend(placement.addresses.iter().cloned());
            }
        }
        let filled = |(id, elements): (ListId, Vec<Arc<str>>)| {
            let change = ListChange {
                added: elements.into_iter().collect(),
                ..ListChange::default()
            };
            (id, change)
        };
        lists.into_iter().map(filled).collect()
    }
}

fn share_values<K: Ord + Copy, V>(map: &BTreeMap<K, Arc<V>>) -> BTreeMap<K, Option<Arc<V>>> {
    map.iter()
        .map(|(key, value)| (*key, Some(Arc::clone(value))))
        .collect()
}
