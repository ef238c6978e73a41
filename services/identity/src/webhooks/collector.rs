//! Makes events of what is new in the audit trails.

use std::time::Duration;

use bowline_db::{AuditEntry, ChangeLog};
use bowline_ids::TailnetId;
use bowline_proto::{
    audit::v1::{
        ListAuditHeadsRequest, ListAuditHeadsResponse, ListAuditRequest, ListAuditResponse,
    },
    key_registry::v1::audit_service_client::AuditServiceClient as RegistryAudit,
    policy::v1::audit_service_client::AuditServiceClient as PolicyAudit,
};
use bowline_service_kit::GrpcChannel;
use tokio::time::MissedTickBehavior;

use crate::{
    domain::webhook::{TrailOwner, WebhookEvent, events_of_entry, is_subscribed},
    error::IdentityError,
    fields::read_tailnet_id,
    store::{
        self,
        webhook_events::{self, TrailCursor},
        webhooks,
    },
};

/// How often it is looked for new entries.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How many tailnets are asked about at once.
const TAILNETS: i64 = 500;
/// How many entries of a tailnet are read at once, and how many times in one look: another tailnet waits no longer.
const ENTRIES: u32 = 200;
const PAGES: usize = 10;
/// The longest answer with entries.
const LONGEST_ANSWER: usize = 64 << 20;

/// The services beside identity whose audit trails are read.
#[derive(Clone, Debug)]
pub struct TrailServices {
    /// The key registry.
    pub registry: GrpcChannel,
    /// The policy compiler.
    pub compiler: GrpcChannel,
}

/// Reads the audit trails of all owners. Clones share it.
#[derive(Clone, Debug)]
pub struct TrailReader {
    log: ChangeLog,
    others: Option<TrailServices>,
}

impl TrailReader {
    pub(crate) fn new(log: ChangeLog, others: Option<TrailServices>) -> Self {
        Self { log, others }
    }

    /// Returns whose trails can be read.
    fn owners(&self) -> Vec<TrailOwner> {
        match self.others {
            Some(_) => vec![
                TrailOwner::Identity,
                TrailOwner::KeyRegistry,
                TrailOwner::PolicyCompiler,
            ],
            None => vec![TrailOwner::Identity],
        }
    }

    /// Returns how long a tailnet's trail is at each owner.
    pub(crate) async fn read_heads(
        &self,
        tailnet: TailnetId,
    ) -> Result<Vec<(TrailOwner, u64)>, IdentityError> {
        let mut heads = Vec::new();
        for owner in self.owners() {
            let found = self.list_heads(owner, vec![tailnet.get()]).await?.heads;
            let sequence = found.first().map_or(0, |head| head.sequence);
            heads.push((owner, sequence));
        }
        Ok(heads)
    }

    async fn list_heads(
        &self,
        owner: TrailOwner,
        tailnet_ids: Vec<u64>,
    ) -> Result<ListAuditHeadsResponse, IdentityError> {
        let request = ListAuditHeadsRequest { tailnet_ids };
        let answer = match (owner, &self.others) {
            (TrailOwner::KeyRegistry, Some(others)) => {
                let mut client = RegistryAudit::new(others.registry.clone());
                client.list_audit_heads(request).await
            }
            (TrailOwner::PolicyCompiler, Some(others)) => {
                let mut client = PolicyAudit::new(others.compiler.clone());
                client.list_audit_heads(request).await
            }
            _ => {
                let tailnets = request.tailnet_ids.into_iter().map(read_tailnet_id);
                let tailnets: Vec<_> = tailnets.collect::<Result<_, _>>()?;
                return Ok(self.log.list_audit_heads(&tailnets).await?);
            }
        };
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| IdentityError::Trail(owner.as_str(), status.message().to_owned()))
    }

    async fn list_entries(
        &self,
        owner: TrailOwner,
        request: ListAuditRequest,
    ) -> Result<ListAuditResponse, IdentityError> {
        let answer = match (owner, &self.others) {
            (TrailOwner::KeyRegistry, Some(others)) => {
                let client = RegistryAudit::new(others.registry.clone());
                let mut client = client.max_decoding_message_size(LONGEST_ANSWER);
                client.list_audit(request).await
            }
            (TrailOwner::PolicyCompiler, Some(others)) => {
                let client = PolicyAudit::new(others.compiler.clone());
                let mut client = client.max_decoding_message_size(LONGEST_ANSWER);
                client.list_audit(request).await
            }
            _ => {
                let tailnet = read_tailnet_id(request.tailnet_id)?;
                return Ok(self.log.list_audit(tailnet, &request).await?);
            }
        };
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| IdentityError::Trail(owner.as_str(), status.message().to_owned()))
    }
}

/// Makes events until the process ends. Every replica does; the cursor moves once.
#[derive(Debug)]
pub struct EventCollector {
    log: ChangeLog,
    trails: TrailReader,
}

impl EventCollector {
    pub(crate) fn new(log: ChangeLog, trails: TrailReader) -> Self {
        Self { log, trails }
    }

    /// Follows all trails. One that can not be read holds up no other.
    pub(crate) async fn run(self) {
        let following = self.trails.owners().into_iter();
        let following = following.map(|owner| self.follow_trails(owner));
        futures_util::future::join_all(following).await;
    }

    async fn follow_trails(&self, owner: TrailOwner) {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.look_at_trails(owner).await {
                let owner = owner.as_str();
                tracing::warn!(owner, %error, "events for webhooks wait: an audit trail can not be read");
            }
        }
    }

    async fn look_at_trails(&self, owner: TrailOwner) -> Result<(), IdentityError> {
        let mut after = 0;
        loop {
            let reader = self.log.database().reader();
            let name = owner.as_str();
            let cursors = webhook_events::list_cursors(reader, name, after, TAILNETS).await?;
            let Some(last) = cursors.last() else {
                return Ok(());
            };
            after = last.tailnet_id;
            let tailnets = cursors.iter().map(|cursor| cursor.tailnet_id).collect();
            let heads = self.trails.list_heads(owner, tailnets).await?.heads;
            for cursor in cursors {
                let head = heads
                    .iter()
                    .find(|head| head.tailnet_id == cursor.tailnet_id);
                let head = head.map_or(0, |head| head.sequence);
                if head == cursor.sequence {
                    continue;
                }
                let tailnet = cursor.tailnet_id;
                if let Err(error) = self.catch_up(owner, cursor, head).await {
                    tracing::warn!(owner = name, tailnet, %error, "events for webhooks of a tailnet wait");
                }
            }
        }
    }

    /// Makes events of what is new in one trail. A trail that is shorter than it was belongs to a database that has gone back:
    /// events go on behind its end.
    async fn catch_up(
        &self,
        owner: TrailOwner,
        mut cursor: TrailCursor,
        head: u64,
    ) -> Result<(), IdentityError> {
        if head < cursor.sequence {
            self.queue_events(owner, cursor, head, Vec::new()).await?;
            return Ok(());
        }
        for _ in 0..PAGES {
            let request = ListAuditRequest {
                tailnet_id: cursor.tailnet_id,
                after_sequence: cursor.sequence,
                limit: ENTRIES,
                oldest_first: true,
                ..ListAuditRequest::default()
            };
            let listed = self.trails.list_entries(owner, request).await?;
            let (next, has_more) = (listed.next_sequence, listed.has_more);
            let entries = listed.entries.into_iter().map(AuditEntry::try_from);
            let entries: Vec<_> = entries.collect::<Result<_, _>>()?;
            let tailnet_id = cursor.tailnet_id;
            if next > cursor.sequence {
                let moved = self.queue_events(owner, cursor, next, entries).await?;
                if !moved {
                    // Another replica is at it.
                    return Ok(());
                }
            }
            if !has_more {
                return Ok(());
            }
            cursor = TrailCursor {
                tailnet_id,
                sequence: next,
            };
        }
        Ok(())
    }

    /// Lets the events of entries wait, and moves the cursor, in one commit; says whether this replica did.
    async fn queue_events(
        &self,
        owner: TrailOwner,
        cursor: TrailCursor,
        sequence: u64,
        entries: Vec<AuditEntry>,
    ) -> Result<bool, IdentityError> {
        let queued = self.log.database().write(move |write| {
            Box::pin(async move {
                let (now, on) = (write.now(), write.connection());
                if !webhook_events::move_cursor(on, owner.as_str(), &cursor, sequence).await? {
                    return Ok(false);
                }
                let found = store::find_tailnet(&mut *on, cursor.tailnet_id).await?;
                let Some(tailnet) = found else {
                    return Ok(true);
                };
                let events: Vec<WebhookEvent> = entries
                    .iter()
                    .flat_map(|entry| events_of_entry(owner, &tailnet.name, entry))
                    .collect();
                if events.is_empty() {
                    return Ok(true);
                }
                for webhook in webhooks::list_webhooks(&mut *on, cursor.tailnet_id).await? {
                    let wanted = events.iter();
                    let wanted =
                        wanted.filter(|event| is_subscribed(&webhook.subscriptions, event.kind));
                    for event in wanted {
                        webhook_events::queue_event(on, webhook.id, event, now).await?;
                    }
                }
                Ok::<_, IdentityError>(true)
            })
        });
        queued.await
    }
}
