//! What arrives at a workspace: users, nodes and policies, in one queue.

use std::sync::Arc;

use bowline_change_feed::{IdentityLog, LogSource, RegistryLog, TailnetFollower, Update};
use bowline_policy::Policy;
use bowline_service_kit::TraceParent;
use tokio::sync::{mpsc, watch};

/// A version of a policy document.
#[derive(Clone, Debug)]
pub struct PolicyInForce {
    /// Its number; zero for the default policy.
    pub version: u64,
    /// What it says.
    pub policy: Arc<Policy>,
    /// The span that committed it, if that was recorded.
    pub origin: Option<TraceParent>,
}

/// Something to apply to a workspace.
pub enum WorkspaceEvent {
    /// Users came, went or changed.
    Identity(Update<IdentityLog>),
    /// Nodes came, went or changed.
    Registry(Update<RegistryLog>),
    /// A version is in force.
    Policy(PolicyInForce),
    /// Something that the compiler can not do.
    #[cfg(test)]
    Impossible,
}

impl WorkspaceEvent {
    /// Returns the spans that committed what it says.
    pub(super) fn origins(&self) -> Vec<TraceParent> {
        match self {
            Self::Identity(update) => update.origins(),
            Self::Registry(update) => update.origins(),
            Self::Policy(policy) => policy.origin.into_iter().collect(),
            #[cfg(test)]
            Self::Impossible => Vec::new(),
        }
    }
}

/// Passes on the updates of a log, until nobody takes them any more.
pub(super) async fn forward_updates<S: LogSource>(
    mut follow: TailnetFollower<S>,
    events: mpsc::Sender<WorkspaceEvent>,
    event: impl Fn(Update<S>) -> WorkspaceEvent,
) {
    loop {
        let update = tokio::select! {
            update = follow.next() => update,
            () = events.closed() => return,
        };
        if events.send(event(update)).await.is_err() {
            return;
        }
    }
}

/// Passes on the version in force whenever it changes, until nobody takes it any more.
pub(super) async fn forward_policies(
    mut policies: watch::Receiver<Option<PolicyInForce>>,
    events: mpsc::Sender<WorkspaceEvent>,
) {
    loop {
        let found = policies.borrow_and_update().clone();
        if let Some(found) = found
            && events.send(WorkspaceEvent::Policy(found)).await.is_err()
        {
            return;
        }
        tokio::select! {
            changed = policies.changed() => if changed.is_err() { return },
            () = events.closed() => return,
        }
    }
}
