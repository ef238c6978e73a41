//! Which tailnets are being compiled: those that somebody asks about, and each for a while after.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bowline_ids::TailnetId;
use bowline_service_kit::Tasks;
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior},
};

use crate::workspace::{OwnerFeeds, PolicyInForce, Workspace, WorkspaceEvent};

/// How long a workspace that nobody uses is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
/// How often a workspace checks whether somebody uses it.
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(30);
/// How many references to an unused workspace exist: that of the table, and that of the task that compiles it.
const OWN_REFERENCES: usize = 2;

/// Tells a workspace which version is in force.
pub type PolicySender = watch::Sender<Option<PolicyInForce>>;

/// The tailnets being compiled. Clones share them.
#[derive(Clone, Debug)]
pub struct Workspaces {
    feeds: OwnerFeeds,
    tasks: Tasks,
    running: Arc<Mutex<BTreeMap<TailnetId, RunningWorkspace>>>,
}

#[derive(Clone, Debug)]
struct RunningWorkspace {
    policies: PolicySender,
    workspace: Arc<Workspace>,
}

impl Workspaces {
    /// Returns an empty table; what is compiled later comes from these feeds.
    pub fn new(feeds: OwnerFeeds, tasks: &Tasks) -> Self {
        Self {
            feeds,
            tasks: tasks.clone(),
            running: Arc::default(),
        }
    }

    /// Returns a tailnet's workspace. When it is a new one, `load` is called to send it the version in force.
    pub fn get_or_start(&self, tailnet: TailnetId, load: impl FnOnce()) -> Arc<Workspace> {
        let mut running = self.running.lock();
        if let Some(known) = running.get(&tailnet) {
            return Arc::clone(&known.workspace);
        }
        let (sender, policies) = watch::channel(None);
        let (workspace, events) = Workspace::start(tailnet, &self.feeds, policies, &self.tasks);
        let run = self.clone().run(tailnet, Arc::clone(&workspace), events);
        self.tasks.spawn_background("compile", run);
        running.insert(
            tailnet,
            RunningWorkspace {
                policies: sender,
                workspace: Arc::clone(&workspace),
            },
        );
        load();
        workspace
    }

    /// Returns the tailnets being compiled.
    pub fn tailnets(&self) -> Vec<TailnetId> {
        self.running.lock().keys().copied().collect()
    }

    /// Returns what tells a tailnet's workspace the version in force, while there is one.
    pub fn policy_sender(&self, tailnet: TailnetId) -> Option<PolicySender> {
        let running = self.running.lock();
        running.get(&tailnet).map(|known| known.policies.clone())
    }

    /// Compiles a tailnet until that fails or nobody has used the workspace for a while. Who asks for it afterwards gets
    /// a new one.
    async fn run(
        self,
        tailnet: TailnetId,
        workspace: Arc<Workspace>,
        mut events: mpsc::Receiver<WorkspaceEvent>,
    ) {
        let mut checks = tokio::time::interval(IDLE_CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut idle_since: Option<Instant> = None;
        loop {
            tokio::select! {
                event = events.recv() => {
                    let Some(event) = event else {
                        break;
                    };
                    if !workspace.apply(event).await {
                        break;
                    }
                }
                now = checks.tick() => {
                    if Arc::strong_count(&workspace) > OWN_REFERENCES {
                        idle_since = None;
                        continue;
                    }
                    let since = *idle_since.get_or_insert(now);
                    if now.duration_since(since) >= IDLE_TIMEOUT && self.remove_if_unused(tailnet, &workspace) {
                        return;
                    }
                }
            }
        }
        self.remove(tailnet, &workspace);
        workspace.end();
    }

    /// Takes a workspace out of the table, unless another one has replaced it.
    fn remove(&self, tailnet: TailnetId, workspace: &Arc<Workspace>) {
        let mut running = self.running.lock();
        let is_same = |known: &RunningWorkspace| Arc::ptr_eq(&known.workspace, workspace);
        if running.get(&tailnet).is_some_and(is_same) {
            running.remove(&tailnet);
        }
    }

    /// Takes a workspace out of the table, unless somebody has asked for it just now; says whether it did.
    fn remove_if_unused(&self, tailnet: TailnetId, workspace: &Arc<Workspace>) -> bool {
        let mut running = self.running.lock();
        // New references come from this table only: none can be taken while it is locked.
        let is_unused = Arc::strong_count(workspace) <= OWN_REFERENCES;
        if is_unused {
            running.remove(&tailnet);
        }
        is_unused
    }
}

#[cfg(test)]
mod tests;
