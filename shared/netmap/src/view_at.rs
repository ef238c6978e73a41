//! A view at one of two times: now, or before some changes.

use bowline_ids::NodeId;
use bowline_proto::policy::v1::{Class, Route, Settings, Via};

use crate::{
    change_set::ChangeSet,
    view::{ClassId, SettingsId, ShownNode, View},
};

/// A view as it is, or as it was before some changes.
#[derive(Clone, Copy)]
pub(crate) struct ViewAt<'v> {
    pub(crate) view: &'v View,
    before: Option<&'v ChangeSet>,
}

impl<'v> ViewAt<'v> {
    /// Returns the view as it is.
    pub(crate) const fn now(view: &'v View) -> Self {
        Self { view, before: None }
    }

    /// Returns the view as it was before some changes.
    pub(crate) const fn before(view: &'v View, changes: &'v ChangeSet) -> Self {
        Self {
            view,
            before: Some(changes),
        }
    }

    /// Returns a node.
    pub(crate) fn node(self, id: NodeId) -> Option<&'v ShownNode> {
        match self.before.and_then(|changes| changes.nodes.get(&id)) {
            Some(before) => before.as_ref(),
            None => self.view.nodes.get(&id),
        }
    }

    /// Returns a class.
    pub(crate) fn class(self, id: ClassId) -> Option<&'v Class> {
        match self.before.and_then(|changes| changes.classes.get(&id)) {
            Some(before) => before.as_deref(),
            None => self.view.compiled.classes.get(&id).map(|class| &**class),
        }
    }

    /// Returns settings.
    pub(crate) fn settings(self, id: SettingsId) -> Option<&'v Settings> {
        match self.before.and_then(|changes| changes.settings.get(&id)) {
            Some(before) => before.as_deref(),
            None => self
                .view
                .compiled
                .settings
                .get(&id)
                .map(|settings| &**settings),
        }
    }

    /// Returns who has to do with a subnet route.
    pub(crate) fn route(self, prefix: &str) -> Option<&'v Route> {
        match self.before.and_then(|changes| changes.routes.get(prefix)) {
            Some(before) => before.as_deref(),
            None => self.view.compiled.routes.get(prefix).map(|route| &**route),
        }
    }

    /// Returns a via: the routes and exit nodes that a grant leads through routers it names.
    pub(crate) fn via(self, id: u64) -> Option<&'v Via> {
        match self.before.and_then(|changes| changes.vias.get(&id)) {
            Some(before) => before.as_deref(),
            None => self.view.compiled.vias.get(&id).map(|via| &**via),
        }
    }
}
