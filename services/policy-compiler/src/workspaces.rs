//! Which tailnets are being compiled: those that somebody asks about, and for a while after.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bowline_change_feed::{Feed, Identity, Registry};
use bowline_ids::TailnetId;
use bowline_policy::Policy;
use bowline_service_kit::Tasks;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior},
};

use crate::workspace::{Event, Workspace};

/// How long a workspace that nobody asks is kept.
const IDLE: Duration = Duration::from_secs(600);
/// How often it is looked whether somebody does.
const LOOK: Duration = Duration::from_secs(30);

/// The version in force of one tailnet, for those who follow it.
pub type InForce = watch::Sender<Option<(u64, Arc<Policy>)>>;

/// The tailnets being compiled. Clones share them.
#[derive(Clone, Debug)]
pub struct Workspaces {
    identity: Feed<Identity>,
    registry: Feed<Registry>,
    tasks: Tasks,
    held: Arc<Mutex<BTreeMap<TailnetId, Held>>>,
}

#[derive(Clone, Debug)]
struct Held {
    in_force: InForce,
    workspace: Arc<Workspace>,
}

impl Workspaces {
    /// Returns none, to be compiled from these.
    pub fn new(identity: Feed<Identity>, registry: Feed<Registry>, tasks: &Tasks) -> Self {
        Self {
            identity,
            registry,
            tasks: tasks.clone(),
            held: Arc::default(),
        }
    }

    /// Returns a tailnet's workspace; when it is a new one, `load` is to bring in the version in force.
    pub fn get(&self, tailnet: TailnetId, load: impl FnOnce()) -> Arc<Workspace> {
        let mut held = self.held();
        if let Some(known) = held.get(&tailnet) {
            return Arc::clone(&known.workspace);
        }
        let (in_force, policies) = watch::channel(None);
        let feeds = (&self.identity, &self.registry);
        let (workspace, events) = Workspace::start(tailnet, feeds, policies, &self.tasks);
        let run = self.clone().run(tailnet, Arc::clone(&workspace), events);
        self.tasks.background("compile", run);
        held.insert(
            tailnet,
            Held {
                in_force,
                workspace: Arc::clone(&workspace),
            },
        );
        load();
        workspace
    }

    /// Returns the tailnets being compiled.
    pub fn tailnets(&self) -> Vec<TailnetId> {
        self.held().keys().copied().collect()
    }

    /// Returns the version in force as a tailnet's workspace has it, while there is one.
    pub fn in_force(&self, tailnet: TailnetId) -> Option<InForce> {
        self.held()
            .get(&tailnet)
            .map(|known| known.in_force.clone())
    }

    /// Compiles a tailnet until that fails or nobody has asked about it for a while; the next who asks gets a new
    /// workspace.
    async fn run(
        self,
        tailnet: TailnetId,
        workspace: Arc<Workspace>,
        mut events: mpsc::Receiver<Event>,
    ) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut idle_since = None;
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
                now = looks.tick() => {
                    let is_idle = Arc::strong_count(&workspace) <= KEPT_ANYHOW;
                    let since: Instant = *idle_since.filter(|_| is_idle).get_or_insert(now);
                    idle_since = is_idle.then_some(since);
                    if is_idle && now.duration_since(since) >= IDLE && self.let_go(tailnet, &workspace) {
                        return;
                    }
                }
            }
        }
        let mut held = self.held();
        if held
            .get(&tailnet)
            .is_some_and(|known| Arc::ptr_eq(&known.workspace, &workspace))
        {
            held.remove(&tailnet);
        }
        drop(held);
        workspace.end();
    }

    /// Forgets a workspace, unless somebody asks for it just now.
    fn let_go(&self, tailnet: TailnetId, workspace: &Arc<Workspace>) -> bool {
        let mut held = self.held();
        // Whoever asks does so here: nobody can while the table is held.
        let is_idle = Arc::strong_count(workspace) <= KEPT_ANYHOW;
        if is_idle {
            held.remove(&tailnet);
        }
        is_idle
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<TailnetId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many hold a workspace that nobody asks: the table and the task that compiles it.
const KEPT_ANYHOW: usize = 2;

#[cfg(test)]
mod tests {
    use bowline_bus::Bus;
    use bowline_service_kit::{Caller, Later, ServiceName, Shutdown};

    use super::*;
    use crate::error::CompilerError;

    /// Returns no workspaces, with owners that never answer.
    fn workspaces() -> Workspaces {
        let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
        let bus = Bus::in_process();
        let owners = Later::default();
        let channel = || owners.channel(Caller::Service(ServiceName::PolicyCompiler));
        Workspaces::new(
            Feed::start(Identity::new(channel()), &bus, &tasks),
            Feed::start(Registry::new(channel()), &bus, &tasks),
            &tasks,
        )
    }

    fn tailnet() -> TailnetId {
        TailnetId::try_from(1_u64).unwrap()
    }

    #[tokio::test]
    async fn a_workspace_that_broke_is_given_up_and_whoever_watches_asks_for_another() {
        let workspaces = workspaces();
        let workspace = workspaces.get(tailnet(), || {});
        let watching = tokio::spawn(Arc::clone(&workspace).watch());
        let asking = tokio::spawn(Arc::clone(&workspace).ask(0, |_, version| version));
        let (events, received) = mpsc::channel(1);
        events.send(Event::Impossible).await.unwrap();
        let run = workspaces
            .clone()
            .run(tailnet(), Arc::clone(&workspace), received);
        run.await;
        assert!(watching.await.unwrap().is_none());
        assert!(matches!(
            asking.await.unwrap(),
            Err(CompilerError::NotReady)
        ));
        let another = workspaces.get(tailnet(), || {});
        assert!(!Arc::ptr_eq(&workspace, &another));
    }

    #[tokio::test(start_paused = true)]
    async fn a_workspace_is_kept_while_somebody_watches_and_dropped_a_while_after() {
        let workspaces = workspaces();
        let watched = workspaces.get(tailnet(), || {});
        tokio::time::sleep(3 * IDLE).await;
        assert_eq!(workspaces.tailnets(), [tailnet()]);
        drop(watched);
        tokio::time::sleep(IDLE / 2).await;
        assert_eq!(workspaces.tailnets(), [tailnet()]);
        tokio::time::sleep(IDLE).await;
        assert_eq!(workspaces.tailnets(), []);
    }
}
