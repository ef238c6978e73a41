//! What the policy means.

use std::collections::BTreeSet;

use bowline_proto::policy::v1::CompiledUpdate;

use super::Replica;

impl Replica {
    /// Applies one whole compiled update in one step.
    pub fn apply_compiled(&mut self, parts: Vec<CompiledUpdate>) {
        let mut update = CompiledUpdate::default();
        for part in parts {
            self.stamp = part.stamp.or(self.stamp);
            update.full |= part.full;
            update.common_filter = part.common_filter.or(update.common_filter);
            update.derp_map = part.derp_map.or(update.derp_map);
            update.classes.extend(part.classes);
            update.removed_classes.extend(part.removed_classes);
            update.settings.extend(part.settings);
            update.removed_settings.extend(part.removed_settings);
            update.source_lists.extend(part.source_lists);
            update.routes.extend(part.routes);
            update.removed_routes.extend(part.removed_routes);
            update.vias.extend(part.vias);
            update.removed_vias.extend(part.removed_vias);
            update.memberships.extend(part.memberships);
            update.removed_nodes.extend(part.removed_nodes);
        }
        let memberships = std::mem::take(&mut update.memberships);
        let mut removed = std::mem::take(&mut update.removed_nodes);
        if update.full {
            let members = memberships.iter().map(|member| member.node_id);
            removed.extend(absent_keys(self.memberships.keys(), members));
        }
        let classes: Vec<_> = update.classes.iter().map(|class| class.id).collect();
        let settings: Vec<_> = update.settings.iter().map(|set| set.id).collect();
        let removed_now = self.view.compiled.apply_update(update, &mut self.changes);
        self.outdated.0.extend(removed_now.classes);
        self.outdated.0.retain(|id| !classes.contains(id));
        self.outdated.1.extend(removed_now.settings);
        self.outdated.1.retain(|id| !settings.contains(id));
        // The stamp may have reached nodes whose class stays the same: their new facts may be shown now.
        let mut touched = std::mem::take(&mut self.waiting);
        for id in removed {
            self.memberships.remove(&id);
            touched.insert(id);
        }
        for member in memberships {
            touched.insert(member.node_id);
            self.memberships.insert(member.node_id, member);
        }
        for id in touched {
            self.update_shown(id);
        }
    }

    /// Takes out the classes and settings that the policy has no more, but for those some node is shown with.
    pub(super) fn remove_unused_definitions(&mut self) {
        let (classes, settings) = &mut self.outdated;
        let Self { view, changes, .. } = self;
        classes.retain(|id| {
            let is_used = view.nodes_by_class.contains_key(id);
            if !is_used {
                view.compiled.remove_class(*id, changes);
            }
            is_used
        });
        settings.retain(|id| {
            let is_used = view.nodes_by_settings.contains_key(id);
            if !is_used {
                view.compiled.remove_settings(*id, changes);
            }
            is_used
        });
    }
}

fn absent_keys<'a>(
    known: impl Iterator<Item = &'a u64>,
    present: impl Iterator<Item = u64>,
) -> Vec<u64> {
    let present: BTreeSet<_> = present.collect();
    known.copied().filter(|id| !present.contains(id)).collect()
}
