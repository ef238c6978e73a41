//! Keeps one tailnet's views up with the three logs.

use std::{sync::Arc, time::Duration};

use bowline_change_feed::{Feed, Follow, Identity, Registry, Source, Update};
use bowline_ids::TailnetId;
use bowline_netmap::Replica;
use bowline_proto::policy::v1::{
    CompiledUpdate, WatchCompiledRequest,
    policy_compiler_service_client::PolicyCompilerServiceClient,
};
use bowline_service_kit::{GrpcChannel, Tasks};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tonic::Status;

use super::{
    Ends, Progress, Tailnet,
    inputs::{Inputs, Waiting},
    stamps::{Stamps, Verdict},
};

/// The least time between two views: what happens meanwhile is published together.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(3);
/// How long to wait before the compiler is asked again, and when the replica that answered lags: its output is whole.
const RETRY: Duration = Duration::from_millis(200);
const CATCH_UP: Duration = Duration::from_secs(1);

/// Where a tailnet's facts come from.
#[derive(Clone, Debug)]
pub(super) struct Origins {
    pub(super) identity: Feed<Identity>,
    pub(super) registry: Feed<Registry>,
    pub(super) compiler: GrpcChannel,
}

/// Something to apply.
enum Event {
    Identity(Update<Identity>),
    Registry(Update<Registry>),
    CompiledPolicy(Vec<CompiledUpdate>),
}

/// Follows a tailnet until its last handle is gone.
pub(super) fn start(
    tailnet: &Arc<Tailnet>,
    origins: &Origins,
    (inputs, progress): Ends,
    tasks: &Tasks,
) {
    let (sender, events) = mpsc::channel(1);
    let id = tailnet.id;
    tasks.background(
        "follow-identity",
        pump(origins.identity.follow(id), sender.clone(), Event::Identity),
    );
    tasks.background(
        "follow-registry",
        pump(origins.registry.follow(id), sender.clone(), Event::Registry),
    );
    tasks.background(
        "follow-compiled",
        watch_compiled(origins.compiler.clone(), id, sender),
    );
    let follower = Follower {
        tailnet: Arc::downgrade(tailnet),
        replica: Replica::new(tailnet.sources),
        progress,
    };
    tasks.background("follow-tailnet", follower.run(events, inputs));
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

async fn watch_compiled(channel: GrpcChannel, tailnet: TailnetId, events: mpsc::Sender<Event>) {
    let mut client = PolicyCompilerServiceClient::new(channel).max_decoding_message_size(64 << 20);
    let mut stamps = Stamps::default();
    loop {
        let ended = tokio::select! {
            ended = compiled_stream(&mut client, tailnet, &mut stamps, &events) => ended,
            () = events.closed() => return,
        };
        let pause = match ended {
            Ok(End::Over) => RETRY,
            Ok(End::Behind) => CATCH_UP,
            Err(status) => {
                tracing::debug!(%tailnet, %status, "the compiler can not be followed");
                RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Why a stream of the compiler ended without an error.
enum End {
    /// There is no more.
    Over,
    /// What came was older than what another replica had sent.
    Behind,
}

async fn compiled_stream(
    client: &mut PolicyCompilerServiceClient<GrpcChannel>,
    tailnet: TailnetId,
    stamps: &mut Stamps,
    events: &mpsc::Sender<Event>,
) -> Result<End, Status> {
    let request = WatchCompiledRequest {
        tailnet_id: tailnet.get(),
    };
    let mut stream = client.watch_compiled(request).await?.into_inner();
    let mut parts = Vec::new();
    while let Some(part) = stream.message().await? {
        let (last, stamp) = (part.last, part.stamp.unwrap_or_default());
        parts.push(part);
        if last {
            match stamps.judge(stamp, Instant::now().into_std()) {
                Verdict::Newer => {}
                Verdict::Behind => {
                    tracing::info!(%tailnet, ?stamp, "a replica of the compiler lags: its output is left out");
                    return Ok(End::Behind);
                }
                Verdict::PutBack => {
                    tracing::warn!(%tailnet, ?stamp, "the compiler's output is older for long: it is followed");
                }
            }
            let update = Event::CompiledPolicy(std::mem::take(&mut parts));
            if events.send(update).await.is_err() {
                return Ok(End::Over);
            }
        }
    }
    Ok(End::Over)
}

struct Follower {
    tailnet: std::sync::Weak<Tailnet>,
    replica: Replica,
    progress: watch::Sender<Progress>,
}

impl Follower {
    async fn run(mut self, mut events: mpsc::Receiver<Event>, inputs: Arc<Inputs>) {
        let mut publish_at = Instant::now();
        let mut dirty = false;
        loop {
            tokio::select! {
                Some(event) = events.recv() => self.apply(event),
                waiting = inputs.next() => match waiting {
                    Some(waiting) => self.add(waiting),
                    None => return,
                },
                () = tokio::time::sleep_until(publish_at), if dirty => {
                    if !self.publish() {
                        return;
                    }
                    dirty = false;
                    publish_at = Instant::now() + PUBLISH_INTERVAL;
                    continue;
                }
            }
            dirty = true;
        }
    }

    /// Applies what the gateway itself adds. An outcome is of the reports before it.
    fn add(&mut self, waiting: Waiting) {
        for (node, report) in waiting.reports {
            self.replica.apply_report(node, report);
        }
        for (node, outcome) in waiting.outcomes {
            self.replica
                .note_report_accepted(node, outcome.sequence, outcome.applied_at);
        }
        if waiting.relays {
            self.replica.relays_changed();
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Identity(Update::Snapshot(snapshot)) => {
                self.replica.apply_identity_snapshot(snapshot.chunks);
            }
            Event::Identity(Update::Changes(changes, position)) => {
                self.replica
                    .apply_identity_changes(changes.entries, position.revision);
            }
            Event::Registry(Update::Snapshot(snapshot)) => {
                self.replica.apply_registry_snapshot(snapshot.chunks);
            }
            Event::Registry(Update::Changes(changes, _)) => {
                self.replica.apply_registry_answer(changes)
            }
            Event::CompiledPolicy(parts) => self.replica.apply_compiled(parts),
        }
    }

    /// Publishes a complete view; `false` when nobody holds the tailnet any more.
    fn publish(&mut self) -> bool {
        let Some(tailnet) = self.tailnet.upgrade() else {
            return false;
        };
        let complete = self.replica.is_complete();
        // The end of a tailnet is told like any other change.
        if complete || self.replica.is_deleted() {
            tailnet.publish(&mut self.replica);
        }
        let now = Progress {
            complete,
            registry_revision: self.replica.registry_revision(),
            identity_revision: self.replica.identity_revision(),
        };
        let before = self.progress.send_replace(now);
        if before.revisions() != now.revisions() {
            tailnet.shared.advances.note(tailnet.id);
        }
        true
    }
}
