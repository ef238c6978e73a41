//! One tailnet being compiled: follows the two logs and the version in force, and tells who watches.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::Duration,
};

use bowline_change_feed::{Feed, Follow, Identity, Registry, Source, Update};
use bowline_ids::TailnetId;
use bowline_policy::{Compiler, Policy};
use bowline_proto::{
    identity::v1::identity_change,
    key_registry::v1::registry_change,
    policy::v1::{CompiledUpdate, Stamp},
};
use bowline_service_kit::Tasks;
use tokio::sync::{broadcast, mpsc, watch};

use crate::{apart::apart, error::CompilerError, inventory, message};

/// How many updates a slow watcher may miss before it gets everything again.
const KEPT: usize = 64;

/// How long a question waits for identity and the registry to be heard.
const PATIENCE: Duration = Duration::from_secs(10);

/// One update of a tailnet: its messages.
pub type Messages = Arc<Vec<CompiledUpdate>>;

/// A tailnet being compiled.
#[derive(Debug)]
pub struct Workspace {
    state: RwLock<State>,
    updates: broadcast::Sender<Messages>,
    life: watch::Sender<Life>,
}

/// How far a workspace is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// Something was not heard yet.
    Starting,
    /// Everything was heard; this version is in force.
    Ready(u64),
    /// It is given up: nothing is compiled any more.
    Ended,
}

/// What a watcher hears: everything first, then what differs, until the workspace ends.
pub struct Watch {
    workspace: Arc<Workspace>,
    updates: broadcast::Receiver<Messages>,
    life: watch::Receiver<Life>,
    first: Option<Vec<CompiledUpdate>>,
}

#[derive(Debug, Default)]
struct State {
    compiler: Compiler,
    stamp: Stamp,
    policy: bool,
    identity: bool,
    registry: bool,
    users: BTreeSet<u64>,
    nodes: BTreeSet<u64>,
}

/// Something to apply.
pub enum Event {
    /// Users came, went or changed.
    Identity(Update<Identity>),
    /// Nodes came, went or changed.
    Registry(Update<Registry>),
    /// A version is in force.
    Policy(u64, Arc<Policy>),
    /// Something that the compiler can not do.
    #[cfg(test)]
    Impossible,
}

impl Workspace {
    /// Starts to follow what a tailnet is compiled from: returns what comes, to be applied in order. `policies`
    /// follows the version in force.
    pub fn start(
        tailnet: TailnetId,
        (identity, registry): (&Feed<Identity>, &Feed<Registry>),
        policies: watch::Receiver<Option<(u64, Arc<Policy>)>>,
        tasks: &Tasks,
    ) -> (Arc<Self>, mpsc::Receiver<Event>) {
        let (sender, events) = mpsc::channel(1);
        let follow = pump(identity.follow(tailnet), sender.clone(), Event::Identity);
        tasks.background("compile-identity", follow);
        let follow = pump(registry.follow(tailnet), sender.clone(), Event::Registry);
        tasks.background("compile-registry", follow);
        tasks.background("compile-policy", pump_policies(policies, sender));
        (Arc::new(Self::empty()), events)
    }

    fn empty() -> Self {
        Self {
            state: RwLock::default(),
            updates: broadcast::channel(KEPT).0,
            life: watch::channel(Life::Starting).0,
        }
    }

    /// Waits until everything was heard once, then returns everything and what comes after it; `None` when the
    /// workspace ended.
    pub async fn watch(self: Arc<Self>) -> Option<Watch> {
        let mut life = self.life.subscribe();
        let now = *life.wait_for(|life| *life != Life::Starting).await.ok()?;
        if now == Life::Ended {
            return None;
        }
        let workspace = Arc::clone(&self);
        let (first, updates) = apart(move || {
            // Between the two no update is sent: whoever sends one holds the state.
            let state = workspace.read();
            (state.everything(), workspace.updates.subscribe())
        })
        .await
        .ok()?;
        Some(Watch {
            workspace: self,
            updates,
            life,
            first: Some(first),
        })
    }

    /// Asks the compiler, once everything was heard and a version is in force that is at least this one; the answer is
    /// worked out on a thread of its own, with the version.
    ///
    /// # Errors
    ///
    /// [`CompilerError::NotReady`] when that takes longer than ten seconds, or the workspace ended.
    pub async fn ask<T: Send + 'static>(
        self: Arc<Self>,
        version: u64,
        question: impl FnOnce(&Compiler, u64) -> T + Send + 'static,
    ) -> Result<T, CompilerError> {
        let mut life = self.life.subscribe();
        let answers = |life: &Life| match life {
            Life::Starting => false,
            Life::Ready(found) => *found >= version,
            Life::Ended => true,
        };
        match tokio::time::timeout(PATIENCE, life.wait_for(answers)).await {
            Ok(Ok(life)) if *life != Life::Ended => {}
            _ => return Err(CompilerError::NotReady),
        }
        apart(move || {
            let state = self.read();
            question(&state.compiler, state.stamp.policy_version)
        })
        .await
    }

    /// Applies what came; `false` when that can not be done and the workspace is of no use any more.
    pub async fn apply(self: &Arc<Self>, event: Event) -> bool {
        // A snapshot or another policy of a large tailnet takes its time: others shall not wait for it.
        let workspace = Arc::clone(self);
        let applied = apart(move || workspace.apply_now(event)).await;
        applied.is_ok()
    }

    /// Tells watchers and questioners that nothing comes any more: they ask for the tailnet again.
    pub fn end(&self) {
        self.life.send_replace(Life::Ended);
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply_now(&self, event: Event) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let before = state.stamp;
        match event {
            Event::Policy(version, policy) => {
                state.compiler.set_policy(policy);
                state.stamp.policy_version = version;
                state.policy = true;
            }
            Event::Identity(update) => state.identity(update),
            Event::Registry(update) => state.registry(update),
            #[cfg(test)]
            Event::Impossible => panic!("the test wants it so"),
        }
        if !(state.policy && state.identity && state.registry) {
            return;
        }
        let changes = state.compiler.take_changes();
        // Before everything was heard nobody watches.
        if *self.life.borrow() != Life::Starting && state.stamp != before {
            let update = message::update(&changes, state.stamp, false);
            // Without watchers nobody needs it.
            drop(self.updates.send(Arc::new(update)));
        }
        self.life
            .send_replace(Life::Ready(state.stamp.policy_version));
    }
}

impl Watch {
    /// Returns what comes next; `None` when the workspace ended.
    pub async fn next(&mut self) -> Option<Vec<CompiledUpdate>> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let received = tokio::select! {
            received = self.updates.recv() => received,
            _ = self.life.wait_for(|life| *life == Life::Ended) => return None,
        };
        match received {
            Ok(messages) => Some(messages.to_vec()),
            Err(broadcast::error::RecvError::Lagged(_)) => {
                let workspace = Arc::clone(&self.workspace);
                let again = apart(move || {
                    let state = workspace.read();
                    (state.everything(), workspace.updates.subscribe())
                });
                let (everything, updates) = again.await.ok()?;
                self.updates = updates;
                Some(everything)
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl State {
    fn everything(&self) -> Vec<CompiledUpdate> {
        message::update(&self.compiler.full(), self.stamp, true)
    }

    fn identity(&mut self, update: Update<Identity>) {
        match update {
            Update::Snapshot(snapshot) => {
                let users: Vec<_> = snapshot
                    .chunks
                    .into_iter()
                    .flat_map(|chunk| chunk.users)
                    .collect();
                let present: BTreeSet<_> = users.iter().map(|user| user.id).collect();
                for gone in self.users.difference(&present) {
                    self.compiler.remove_user(*gone);
                }
                users
                    .iter()
                    .for_each(|user| self.compiler.put_user(inventory::user(user)));
                self.users = present;
                self.identity = true;
                self.stamp.identity_revision = snapshot.position.revision;
            }
            Update::Changes(changes, position) => {
                for entry in changes.entries {
                    match entry.change {
                        Some(identity_change::Change::User(user)) => {
                            self.users.insert(user.id);
                            self.compiler.put_user(inventory::user(&user));
                        }
                        Some(identity_change::Change::UserDeleted(id)) => {
                            self.users.remove(&id);
                            self.compiler.remove_user(id);
                        }
                        _ => {}
                    }
                }
                self.stamp.identity_revision = position.revision;
            }
        }
    }

    fn registry(&mut self, update: Update<Registry>) {
        match update {
            Update::Snapshot(snapshot) => {
                let nodes: Vec<_> = snapshot
                    .chunks
                    .into_iter()
                    .flat_map(|chunk| chunk.nodes)
                    .collect();
                let present: BTreeSet<_> = nodes.iter().map(|node| node.id).collect();
                for gone in self.nodes.difference(&present) {
                    self.compiler.remove_node(*gone);
                }
                nodes
                    .iter()
                    .for_each(|node| self.compiler.put_node(inventory::node(node)));
                self.nodes = present;
                self.registry = true;
                self.stamp.registry_revision = snapshot.position.revision;
            }
            Update::Changes(changes, position) => {
                for entry in changes.entries {
                    match entry.change {
                        Some(registry_change::Change::Node(node)) => {
                            self.nodes.insert(node.id);
                            self.compiler.put_node(inventory::node(&node));
                        }
                        Some(registry_change::Change::NodeDeleted(id)) => {
                            self.nodes.remove(&id);
                            self.compiler.remove_node(id);
                        }
                        None => {}
                    }
                }
                self.stamp.registry_revision = position.revision;
            }
        }
    }
}

async fn pump<S: Source>(
    mut follow: Follow<S>,
    events: mpsc::Sender<Event>,
    event: impl Fn(Update<S>) -> Event,
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

async fn pump_policies(
    mut policies: watch::Receiver<Option<(u64, Arc<Policy>)>>,
    events: mpsc::Sender<Event>,
) {
    loop {
        let found = policies.borrow_and_update().clone();
        if let Some((version, policy)) = found
            && events.send(Event::Policy(version, policy)).await.is_err()
        {
            return;
        }
        tokio::select! {
            changed = policies.changed() => if changed.is_err() { return },
            () = events.closed() => return,
        }
    }
}
