//! Keeps one tailnet's views up with the three logs.

use std::{sync::Arc, time::Duration};

use bowline_change_feed::{
    Feed, IdentityLog, LogSource, OutageWatch, RegistryLog, TailnetFollower, Update,
};
use bowline_ids::TailnetId;
use bowline_netmap::{AwaitedPart, Replica};
use bowline_proto::policy::v1::{
    CompiledUpdate, WatchCompiledRequest,
    policy_compiler_service_client::PolicyCompilerServiceClient,
};
use bowline_service_kit::{GrpcChannel, Tasks, TraceParent};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior},
};
use tonic::Status;

use super::{
    FollowerEnds, Progress, Tailnet,
    inputs::{LocalInputs, WaitingInputs},
    late_nodes::LateNodes,
    publish_pace::{ChangeKind, PublishPace},
    stamps::{NewestStamp, StampVerdict},
    traces::AppliedChanges,
};

/// How long to wait before the compiler is asked again; longer after a replica that lags, because each answer is a
/// whole output.
const RETRY: Duration = Duration::from_millis(200);
const CATCH_UP: Duration = Duration::from_secs(1);
/// How often nodes are looked for that wait too long to be shown.
const LATE_CHECK: Duration = Duration::from_secs(5);
/// How many sessions are woken at once for a change of soft state: whoever connects or asks meanwhile waits for these, and not for
/// all.
const WAKES_AT_ONCE: usize = 256;

/// Where a tailnet's facts come from.
#[derive(Clone, Debug)]
pub(super) struct LogSources {
    pub(super) identity: Feed<IdentityLog>,
    pub(super) registry: Feed<RegistryLog>,
    pub(super) compiler: GrpcChannel,
    pub(super) compiler_outage: Arc<OutageWatch>,
}

/// Something to apply.
enum FollowerEvent {
    Identity(Update<IdentityLog>),
    Registry(Update<RegistryLog>),
    CompiledPolicy(Vec<CompiledUpdate>),
}

impl FollowerEvent {
    /// Says what it is about; where it has hard state as well as soft state, that counts.
    fn kind(&self) -> ChangeKind {
        match self {
            Self::Registry(Update::Changes(changes, _)) if changes.entries.is_empty() => {
                ChangeKind::Soft
            }
            _ => ChangeKind::Hard,
        }
    }

    /// Returns the spans that committed what it says.
    fn origins(&self) -> Vec<TraceParent> {
        match self {
            Self::Identity(update) => update.origins(),
            Self::Registry(update) => update.origins(),
            Self::CompiledPolicy(parts) => {
                let texts = parts.iter().flat_map(|part| &part.traceparents);
                TraceParent::parse_list(texts.map(String::as_str))
            }
        }
    }
}

/// Follows a tailnet until its last handle is gone.
pub(super) fn start(
    tailnet: &Arc<Tailnet>,
    logs: &LogSources,
    (inputs, progress): FollowerEnds,
    tasks: &Tasks,
) {
    let (sender, events) = mpsc::channel(1);
    let id = tailnet.id;
    tasks.spawn_background(
        "follow-identity",
        forward_updates(
            logs.identity.follow_tailnet(id),
            sender.clone(),
            FollowerEvent::Identity,
        ),
    );
    tasks.spawn_background(
        "follow-registry",
        forward_updates(
            logs.registry.follow_tailnet(id),
            sender.clone(),
            FollowerEvent::Registry,
        ),
    );
    tasks.spawn_background("follow-compiled", watch_compiled(logs.clone(), id, sender));
    let follower = Follower {
        id,
        tailnet: Arc::downgrade(tailnet),
        replica: Replica::new(tailnet.sources),
        progress,
        late: LateNodes::default(),
        changes: AppliedChanges::default(),
    };
    tasks.spawn_background("follow-tailnet", follower.run(events, inputs));
}

async fn forward_updates<S: LogSource>(
    mut follow: TailnetFollower<S>,
    events: mpsc::Sender<FollowerEvent>,
    event: impl Fn(Update<S>) -> FollowerEvent,
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

async fn watch_compiled(logs: LogSources, tailnet: TailnetId, events: mpsc::Sender<FollowerEvent>) {
    let mut client =
        PolicyCompilerServiceClient::new(logs.compiler).max_decoding_message_size(64 << 20);
    let mut stamps = NewestStamp::default();
    let outage = CompilerOutage {
        tailnet,
        watch: logs.compiler_outage,
    };
    loop {
        let ended = tokio::select! {
            ended = compiled_stream(&mut client, &outage, &mut stamps, &events) => ended,
            () = events.closed() => return,
        };
        let pause = match ended {
            Ok(StreamEnd::Over) => RETRY,
            Ok(StreamEnd::Behind) => CATCH_UP,
            Err(status) => {
                outage.note_failure(&status);
                RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Whether the compiled policy of a tailnet can not be followed at the moment.
struct CompilerOutage {
    tailnet: TailnetId,
    watch: Arc<OutageWatch>,
}

impl CompilerOutage {
    fn note_failure(&self, status: &Status) {
        let tailnet = self.tailnet;
        if self
            .watch
            .note_failure(Some(tailnet), Instant::now().into_std())
        {
            tracing::warn!(
                %tailnet, %status,
                "the compiled policy can not be followed, of this tailnet and maybe others: new nodes are not shown until it can"
            );
        } else {
            tracing::debug!(%tailnet, %status, "the compiled policy can not be followed");
        }
    }

    fn note_success(&self) {
        if self.watch.note_success(Some(self.tailnet)) {
            tracing::info!("the compiled policy is followed again");
        }
    }
}

impl Drop for CompilerOutage {
    fn drop(&mut self) {
        // What is tried no more does not fail.
        let _ = self.watch.note_success(Some(self.tailnet));
    }
}

/// Why a stream of the compiler ended without an error.
enum StreamEnd {
    /// There is no more.
    Over,
    /// What came was older than what another replica had sent.
    Behind,
}

async fn compiled_stream(
    client: &mut PolicyCompilerServiceClient<GrpcChannel>,
    outage: &CompilerOutage,
    stamps: &mut NewestStamp,
    events: &mpsc::Sender<FollowerEvent>,
) -> Result<StreamEnd, Status> {
    let tailnet = outage.tailnet;
    let request = WatchCompiledRequest {
        tailnet_id: tailnet.get(),
    };
    let mut stream = client.watch_compiled(request).await?.into_inner();
    let mut parts = Vec::new();
    while let Some(part) = stream.message().await? {
        outage.note_success();
        let (last, stamp) = (part.last, part.stamp);
        parts.push(part);
        if last {
            let stamp = stamp.ok_or_else(|| Status::internal("a compiled policy has no stamp"))?;
            match stamps.judge_stamp(stamp, Instant::now().into_std()) {
                StampVerdict::Newer => {}
                StampVerdict::Behind => {
                    tracing::info!(%tailnet, ?stamp, "a replica of the compiler lags: its output is left out");
                    return Ok(StreamEnd::Behind);
                }
                StampVerdict::Restored => {
                    tracing::warn!(%tailnet, ?stamp, "the compiler's output is older for long: it is followed");
                }
            }
            let update = FollowerEvent::CompiledPolicy(std::mem::take(&mut parts));
            if events.send(update).await.is_err() {
                return Ok(StreamEnd::Over);
            }
        }
    }
    Ok(StreamEnd::Over)
}

struct Follower {
    id: TailnetId,
    tailnet: std::sync::Weak<Tailnet>,
    replica: Replica,
    progress: watch::Sender<Progress>,
    late: LateNodes,
    /// What has been applied since the last view.
    changes: AppliedChanges,
}

impl Follower {
    async fn run(mut self, mut events: mpsc::Receiver<FollowerEvent>, inputs: Arc<LocalInputs>) {
        let mut checks = tokio::time::interval(LATE_CHECK);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pace = PublishPace::new(Instant::now());
        let mut is_waking = false;
        loop {
            // Soft state waits until all have been woken for the view before.
            let next_at = pace.next_at().filter(|_| !is_waking || pace.is_urgent());
            let publish_at = next_at.unwrap_or_else(Instant::now);
            let kind = tokio::select! {
                Some(event) = events.recv() => {
                    let kind = event.kind();
                    self.apply_event(event);
                    kind
                }
                waiting = inputs.next() => match waiting {
                    Some(waiting) => {
                        self.apply_inputs(waiting);
                        ChangeKind::Soft
                    }
                    None => return,
                },
                _ = checks.tick() => {
                    self.warn_of_late_nodes();
                    continue;
                }
                () = tokio::time::sleep_until(publish_at), if next_at.is_some() => {
                    let Some(looking) = self.publish_if_complete() else {
                        return;
                    };
                    let at_once = if pace.is_urgent() { usize::MAX } else { WAKES_AT_ONCE };
                    pace.note_published(looking, Instant::now());
                    is_waking = self.wake_some(at_once, &mut pace);
                    continue;
                }
                () = tokio::task::yield_now(), if is_waking => {
                    is_waking = self.wake_some(WAKES_AT_ONCE, &mut pace);
                    continue;
                }
            };
            pace.note_change(kind, Instant::now());
        }
    }

    /// Wakes about so many of the sessions that look again; says whether some are left.
    fn wake_some(&self, sessions: usize, pace: &mut PublishPace) -> bool {
        let tailnet = self.tailnet.upgrade();
        let is_waking = tailnet.is_some_and(|tailnet| tailnet.history.wake_some(sessions));
        if !is_waking {
            pace.note_woken(Instant::now());
        }
        is_waking
    }

    /// Applies the reports of this gateway's clients, then what the registry made of reports: an outcome is about
    /// reports that came before it.
    fn apply_inputs(&mut self, waiting: WaitingInputs) {
        for (node, report) in waiting.reports {
            self.replica.apply_report(node, report);
        }
        for (node, outcome) in waiting.outcomes {
            self.replica
                .note_report_accepted(node, outcome.sequence, outcome.applied_at);
        }
        if waiting.relays {
            self.replica.note_relays_changed();
        }
    }

    fn apply_event(&mut self, event: FollowerEvent) {
        self.changes.begin(self.id, event.origins());
        match event {
            FollowerEvent::Identity(Update::Snapshot(snapshot)) => {
                self.replica.apply_identity_snapshot(snapshot.chunks);
            }
            FollowerEvent::Identity(Update::Changes(changes, position)) => {
                self.replica
                    .apply_identity_changes(changes.entries, position.revision);
            }
            FollowerEvent::Registry(Update::Snapshot(snapshot)) => {
                self.replica.apply_registry_snapshot(snapshot.chunks);
            }
            FollowerEvent::Registry(Update::Changes(changes, _)) => {
                self.replica.apply_registry_answer(changes)
            }
            FollowerEvent::CompiledPolicy(parts) => self.replica.apply_compiled(parts),
        }
    }

    /// Warns of nodes that have waited too long to be shown, of each once.
    fn warn_of_late_nodes(&mut self) {
        let Some(tailnet) = self.tailnet.upgrade() else {
            return;
        };
        let waiting = self.replica.list_waiting_nodes();
        let late = self.late.find_late(waiting, Instant::now().into_std());
        for (part, nodes) in late {
            let waits_for = match part {
                AwaitedPart::Class => "policy",
                AwaitedPart::User => "user",
            };
            tracing::warn!(
                tailnet = %tailnet.id, waits_for, nodes = nodes.count, first = nodes.first.get(),
                "nodes wait to be shown, or to be shown as they are now"
            );
        }
    }

    /// Publishes a complete view, and returns how many sessions look again; `None` when nobody holds the tailnet any more.
    fn publish_if_complete(&mut self) -> Option<usize> {
        let tailnet = self.tailnet.upgrade()?;
        let complete = self.replica.is_complete();
        // That a tailnet is deleted is published like any other change.
        let origins = self.changes.take_origins();
        let mut looking = 0;
        if complete || self.replica.is_deleted() {
            looking = tailnet.publish_replica(&mut self.replica, origins);
        }
        self.changes.end();
        let now = Progress {
            complete,
            registry_revision: self.replica.registry_revision(),
            identity_revision: self.replica.identity_revision(),
        };
        let before = self.progress.send_replace(now);
        if before.revisions() != now.revisions() {
            tailnet.shared.progress_queue.note_advance(tailnet.id);
        }
        Some(looking)
    }
}
