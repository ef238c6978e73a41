//! Which tailnet a node key is in: one lookup finds it, or finds that no tailnet here has the key.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use bowline_netmap::{ChangeSet, ShownNode, View};
use parking_lot::RwLock;

use super::Tailnet;

/// The node keys shown in all tailnets held.
#[derive(Debug, Default)]
pub struct KeyIndex(RwLock<HashMap<Vec<u8>, Weak<Tailnet>>>);

impl KeyIndex {
    /// Returns the tailnet that shows a node key.
    pub fn find_tailnet(&self, node_key: &[u8]) -> Option<Arc<Tailnet>> {
        let keys = self.0.read();
        keys.get(node_key).and_then(Weak::upgrade)
    }

    /// Enters the changes of a tailnet.
    pub fn note_changes(&self, tailnet: &Arc<Tailnet>, view: &View, changes: &ChangeSet) {
        fn node_key(shown: Option<&ShownNode>) -> Option<&Vec<u8>> {
            shown.map(|shown| &shown.node.node_key)
        }
        let sides = changes.nodes.iter();
        let sides =
            sides.map(|(id, before)| (node_key(before.as_ref()), node_key(view.nodes.get(id))));
        let differing: Vec<_> = sides.filter(|(before, now)| before != now).collect();
        if differing.is_empty() {
            return;
        }
        let held = Arc::downgrade(tailnet);
        let mut keys = self.0.write();
        for before in differing.iter().filter_map(|(before, _)| *before) {
            if keys.get(before).is_some_and(|other| other.ptr_eq(&held)) {
                keys.remove(before);
            }
        }
        for now in differing.iter().filter_map(|(_, now)| *now) {
            keys.insert(now.clone(), Weak::clone(&held));
        }
    }

    /// Forgets tailnets that are gone.
    pub fn forget_dropped(&self) {
        let mut keys = self.0.write();
        keys.retain(|_, held| held.strong_count() > 0);
    }
}
