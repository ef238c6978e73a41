//! One tailnet being compiled: follows two logs and the version in force, and sends what differs to its watchers.

mod events;
mod state;

use std::{sync::Arc, time::Duration};

use bowline_change_feed::{Feed, IdentityLog, RegistryLog};
use bowline_ids::TailnetId;
use bowline_policy::Compiler;
use bowline_proto::policy::v1::CompiledUpdate;
use bowline_service_kit::{Tasks, WorkSpan};
use parking_lot::RwLock;
use tokio::sync::{broadcast, mpsc, watch};

use crate::{blocking::run_blocking, error::CompilerError, message};

pub use events::{PolicyInForce, WorkspaceEvent};
use state::WorkspaceState;

/// How many updates a slow watcher may miss before it gets everything again.
const MISSED_UPDATES: usize = 64;

/// How long a question waits until the workspace can answer it.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// One update of a tailnet: its messages.
type UpdateMessages = Arc<Vec<CompiledUpdate>>;

/// A tailnet being compiled.
#[derive(Debug)]
pub struct Workspace {
    tailnet: TailnetId,
    state: RwLock<WorkspaceState>,
    updates: broadcast::Sender<UpdateMessages>,
    phase: watch::Sender<WorkspacePhase>,
}

/// How far a workspace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WorkspacePhase {
    /// Users, nodes or the policy have not arrived yet.
    Starting,
    /// Everything has arrived; this version is in force.
    Ready(u64),
    /// It is given up: nothing is compiled any more.
    Ended,
}

/// What a watcher receives: everything first, then what differs, until the workspace ends.
pub struct CompiledWatch {
    workspace: Arc<Workspace>,
    updates: broadcast::Receiver<UpdateMessages>,
    phase: watch::Receiver<WorkspacePhase>,
    first: Option<Vec<CompiledUpdate>>,
}

/// The logs that a tailnet is compiled from.
#[derive(Clone, Debug)]
pub struct OwnerFeeds {
    /// Users, from identity.
    pub identity: Feed<IdentityLog>,
    /// Nodes, from the key registry.
    pub registry: Feed<RegistryLog>,
}

impl Workspace {
    /// Starts to follow what a tailnet is compiled from. The events that the second value receives are to be applied in
    /// order; `policies` follows the version in force.
    pub fn start(
        tailnet: TailnetId,
        feeds: &OwnerFeeds,
        policies: watch::Receiver<Option<PolicyInForce>>,
        tasks: &Tasks,
    ) -> (Arc<Self>, mpsc::Receiver<WorkspaceEvent>) {
        let (sender, events) = mpsc::channel(1);
        let users = feeds.identity.follow_tailnet(tailnet);
        let forward = events::forward_updates(users, sender.clone(), WorkspaceEvent::Identity);
        tasks.spawn_background("compile-identity", forward);
        let nodes = feeds.registry.follow_tailnet(tailnet);
        let forward = events::forward_updates(nodes, sender.clone(), WorkspaceEvent::Registry);
        tasks.spawn_background("compile-registry", forward);
        let forward = events::forward_policies(policies, sender);
        tasks.spawn_background("compile-policy", forward);
        let workspace = Self {
            tailnet,
            state: RwLock::default(),
            updates: broadcast::channel(MISSED_UPDATES).0,
            phase: watch::channel(WorkspacePhase::Starting).0,
        };
        (Arc::new(workspace), events)
    }

    /// Waits until everything has arrived once, then returns a watch of all that is compiled; `None` when the workspace
    /// has ended.
    pub async fn watch(self: Arc<Self>) -> Option<CompiledWatch> {
        let mut phase = self.phase.subscribe();
        let is_started = |phase: &WorkspacePhase| *phase != WorkspacePhase::Starting;
        if *phase.wait_for(is_started).await.ok()? == WorkspacePhase::Ended {
            return None;
        }
        let (first, updates) = Arc::clone(&self).subscribe().await?;
        Some(CompiledWatch {
            workspace: self,
            updates,
            phase,
            first: Some(first),
        })
    }

    /// Returns everything that is compiled, and the updates that follow it; `None` when that can not be done.
    async fn subscribe(
        self: Arc<Self>,
    ) -> Option<(Vec<CompiledUpdate>, broadcast::Receiver<UpdateMessages>)> {
        let both = run_blocking(move || {
            // Whoever sends an update holds the state: none can be sent between these two.
            let state = self.state.read();
            (state.full_update(), self.updates.subscribe())
        });
        both.await.ok()
    }

    /// Asks the compiler a question, as soon as everything has arrived and at least this version is in force. The answer
    /// is worked out on a thread of its own; the question is also told the version.
    ///
    /// # Errors
    ///
    /// [`CompilerError::NotReady`] when that takes longer than ten seconds, or the workspace has ended.
    pub async fn query<T: Send + 'static>(
        self: Arc<Self>,
        version: u64,
        question: impl FnOnce(&Compiler, u64) -> T + Send + 'static,
    ) -> Result<T, CompilerError> {
        let mut phase = self.phase.subscribe();
        let can_answer = |phase: &WorkspacePhase| match phase {
            WorkspacePhase::Starting => false,
            WorkspacePhase::Ready(found) => *found >= version,
            WorkspacePhase::Ended => true,
        };
        match tokio::time::timeout(READY_TIMEOUT, phase.wait_for(can_answer)).await {
            Ok(Ok(phase)) if *phase != WorkspacePhase::Ended => {}
            _ => return Err(CompilerError::NotReady),
        }
        run_blocking(move || {
            let state = self.state.read();
            question(&state.compiler, state.stamp.policy_version)
        })
        .await
    }

    /// Applies an event; `false` when that fails and the workspace is of no use any more.
    pub async fn apply(self: &Arc<Self>, event: WorkspaceEvent) -> bool {
        // A snapshot or another policy of a large tailnet takes seconds: others must not wait for it.
        let workspace = Arc::clone(self);
        let applied = run_blocking(move || workspace.apply_now(event)).await;
        applied.is_ok()
    }

    /// Tells watchers and waiting questions that nothing comes any more: they ask for the tailnet again.
    pub fn end(&self) {
        self.phase.send_replace(WorkspacePhase::Ended);
    }

    fn apply_now(&self, event: WorkspaceEvent) {
        let mut state = self.state.write();
        let before = state.stamp;
        let is_watched = *self.phase.borrow() != WorkspacePhase::Starting;
        let origins = match is_watched {
            true => event.origins(),
            false => Vec::new(),
        };
        let mut span = WorkSpan::begin_after(&origins, "compile change");
        span.note_number("bowline.tailnet.id", self.tailnet.get());
        state.apply_event(event);
        if !state.is_complete() {
            return;
        }
        let changes = state.compiler.take_changes();
        // While the workspace is starting, nobody watches yet.
        if is_watched && state.stamp != before {
            let mut update = message::update_messages(&changes, state.stamp, false);
            if let Some(last) = update.last_mut() {
                let follows = span.replace_last(origins);
                last.traceparents = follows.iter().map(ToString::to_string).collect();
            }
            // An error means that there are no watchers.
            drop(self.updates.send(Arc::new(update)));
        }
        let version = state.stamp.policy_version;
        self.phase.send_replace(WorkspacePhase::Ready(version));
    }
}

impl CompiledWatch {
    /// Returns what comes next; `None` when the workspace has ended.
    pub async fn next(&mut self) -> Option<Vec<CompiledUpdate>> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let received = tokio::select! {
            received = self.updates.recv() => received,
            _ = self.phase.wait_for(|phase| *phase == WorkspacePhase::Ended) => return None,
        };
        match received {
            Ok(messages) => Some(messages.to_vec()),
            Err(broadcast::error::RecvError::Lagged(_)) => {
                let (everything, updates) = Arc::clone(&self.workspace).subscribe().await?;
                self.updates = updates;
                Some(everything)
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
