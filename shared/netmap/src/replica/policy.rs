//! What the policy means.

use std::collections::{BTreeMap, BTreeSet};

use bowline_ids::NodeId;
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
        let memberships: BTreeMap<_, _> = std::mem::take(&mut update.memberships)
            .into_iter()
            .filter_map(|member| Some((NodeId::try_from(member.node_id).ok()?, member)))
            .collect();
        let mut removed: Vec<_> = std::mem::take(&mut update.removed_nodes)
            .into_iter()
            .filter_map(|number| NodeId::try_from(number).ok())
            .collect();
        if update.full {
            let members: BTreeSet<_> = memberships.keys().collect();
            let known = self.memberships.keys().copied();
            removed.extend(known.filter(|id| !members.contains(id)));
        }
        let classes: BTreeSet<_> = update.classes.iter().map(|class| class.id).collect();
        let settings: BTreeSet<_> = update.settings.iter().map(|set| set.id).collect();
        let removed_now = self.view.compiled.apply_update(update, &mut self.changes);
        let outdated = &mut self.outdated;
        outdated.classes.extend(removed_now.classes);
        outdated.classes.retain(|id| !classes.contains(&id.0));
        outdated.settings.extend(removed_now.settings);
        outdated.settings.retain(|id| !settings.contains(&id.0));
        // The stamp may have reached nodes whose class stays the same: their new facts may be shown now.
        let mut touched = std::mem::take(&mut self.waiting);
        for id in removed {
            self.memberships.remove(&id);
            touched.insert(id);
        }
        touched.extend(memberships.keys());
        self.memberships.extend(memberships);
        for id in touched {
            self.update_shown(id);
        }
    }

    /// Takes out the classes and settings that the policy has no more, but for those some node is shown with.
    pub(super) fn remove_unused_definitions(&mut self) {
        let Self {
            view,
            changes,
            outdated,
            ..
        } = self;
        outdated.classes.retain(|id| {
            let is_used = view.nodes_by_class.contains_key(id);
            if !is_used {
                view.compiled.remove_class(*id, changes);
            }
            is_used
        });
        outdated.settings.retain(|id| {
            let is_used = view.nodes_by_settings.contains_key(id);
            if !is_used {
                view.compiled.remove_settings(*id, changes);
            }
            is_used
        });
    }
}
