//! One tailnet being compiled: follows the two logs and the version in force, and tells who watches.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
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

use crate::{
    error::CompilerError,
    inventory::{self, Inventory},
    message,
};

/// How many updates a slow watcher may miss before it gets everything again.
const KEPT: usize = 64;
/// How long a workspace nobody watches is kept.
const IDLE: Duration = Duration::from_secs(600);

/// How long a question waits for identity and the registry to be heard.
const PATIENCE: Duration = Duration::from_secs(10);

/// One update of a tailnet: its messages.
pub type Messages = Arc<Vec<CompiledUpdate>>;

/// A tailnet being compiled.
#[derive(Debug)]
pub struct Workspace {
    state: Mutex<State>,
    updates: broadcast::Sender<Messages>,
    /// Whether everything was heard once.
    ready: watch::Sender<bool>,
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
enum Event {
    Identity(Update<Identity>),
    Registry(Update<Registry>),
    Policy(u64, Arc<Policy>),
}

impl Workspace {
    /// Starts to compile a tailnet; `policies` follows the version in force.
    pub fn start(
        tailnet: TailnetId,
        identity: &Feed<Identity>,
        registry: &Feed<Registry>,
        policies: watch::Receiver<Option<(u64, Arc<Policy>)>>,
        tasks: &Tasks,
    ) -> Arc<Self> {
        let workspace = Arc::new(Self {
            state: Mutex::default(),
            updates: broadcast::channel(KEPT).0,
            ready: watch::channel(false).0,
        });
        let (sender, events) = mpsc::channel(1);
        let follow = pump(identity.follow(tailnet), sender.clone(), Event::Identity);
        tasks.background("compile-identity", follow);
        let follow = pump(registry.follow(tailnet), sender.clone(), Event::Registry);
        tasks.background("compile-registry", follow);
        tasks.background("compile-policy", pump_policies(policies, sender));
        tasks.background("compile", run(Arc::clone(&workspace), events));
        workspace
    }

    /// Waits until everything was heard once, then returns everything and what comes after it.
    pub async fn watch(&self) -> (Vec<CompiledUpdate>, broadcast::Receiver<Messages>) {
        let mut ready = self.ready.subscribe();
        // The sender lives in self: this can only end well.
        drop(ready.wait_for(|ready| *ready).await);
        let state = self.state();
        (
            message::update(&state.compiler.full(), state.stamp, true),
            self.updates.subscribe(),
        )
    }

    /// Returns the users and nodes as they are now, once everything was heard.
    ///
    /// # Errors
    ///
    /// [`CompilerError::NotReady`] when that takes longer than ten seconds.
    pub async fn inventory(&self) -> Result<Inventory, CompilerError> {
        let mut ready = self.ready.subscribe();
        let heard = tokio::time::timeout(PATIENCE, ready.wait_for(|ready| *ready)).await;
        if heard.is_err() {
            return Err(CompilerError::NotReady);
        }
        let state = self.state();
        Ok(Inventory {
            users: state.compiler.users().clone(),
            nodes: state.compiler.nodes().clone(),
        })
    }

    /// Returns everything, for a watcher that missed something.
    pub fn everything(&self) -> Vec<CompiledUpdate> {
        let state = self.state();
        message::update(&state.compiler.full(), state.stamp, true)
    }

    /// Says whether nobody watches.
    pub fn is_idle(&self) -> bool {
        self.updates.receiver_count() == 0
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, event: Event) {
        let mut state = self.state();
        let before = state.stamp;
        match event {
            Event::Policy(version, policy) => {
                state.compiler.set_policy(Policy::clone(&policy));
                state.stamp.policy_version = version;
                state.policy = true;
            }
            Event::Identity(update) => state.identity(update),
            Event::Registry(update) => state.registry(update),
        }
        let ready = state.policy && state.identity && state.registry;
        let was_ready = *self.ready.borrow();
        if ready && !was_ready {
            state.compiler.take_changes();
            self.ready.send_replace(true);
        } else if ready && state.stamp != before {
            let changes = state.compiler.take_changes();
            let update = message::update(&changes, state.stamp, false);
            // Without watchers nobody needs it.
            drop(self.updates.send(Arc::new(update)));
        }
    }
}

impl State {
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

async fn run(workspace: Arc<Workspace>, mut events: mpsc::Receiver<Event>) {
    let mut idle_since = None;
    loop {
        let event = tokio::time::timeout(Duration::from_secs(30), events.recv()).await;
        match event {
            Ok(Some(event)) => {
                // A snapshot or another policy of a large tailnet takes its time: others shall not wait for it.
                let applying = Arc::clone(&workspace);
                let applied = tokio::task::spawn_blocking(move || applying.apply(event)).await;
                if let Err(error) = applied {
                    tracing::error!(%error, "a change could not be compiled");
                    return;
                }
            }
            Ok(None) => return,
            Err(_) if !workspace.is_idle() => idle_since = None,
            Err(_) => {
                let since = *idle_since.get_or_insert_with(std::time::Instant::now);
                if since.elapsed() > IDLE && Arc::strong_count(&workspace) == 1 {
                    return;
                }
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
