//! Webhooks: made, listed and changed by administrators; [`collector`] makes events for them, [`sender`] sends those.
//!
//! ```text
//! audit trails of identity, registry, compiler ─▶ collector: events, and the cursor moves, one commit ─▶ webhook_events
//! webhook_events ─▶ sender: takes a webhook, sends its first event, notes what became of it ─▶ receiver
//! ```
//!
//! A crash anywhere leaves the cursor, or the event, as it was: then entries are read, or an event is sent, once more, with the
//! same id.

mod approvals;
mod collector;
mod sender;
mod signal;
mod trails;

use std::sync::Arc;

use bowline_clock::random_bytes;
use bowline_db::{ChangeLog, Mutation, next_id};
use bowline_ids::TailnetId;
use bowline_proto::{
    identity::v1::{
        CreateWebhookRequest, CreateWebhookResponse, ReplayUndeliveredEventsResponse,
        RotateWebhookSecretResponse, TestWebhookResponse, UndeliveredEvent, UpdateWebhookResponse,
        Webhook,
    },
    time::to_timestamp,
};
use bowline_sealing::SealingKeys;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;
use zeroize::Zeroizing;

use crate::{
    domain::{describe_change, webhook},
    error::IdentityError,
    store::{
        webhook_cursors, webhook_events,
        webhooks::{self as store, WebhookRow},
    },
    tailnets::require_tailnet,
};
pub use approvals::ApprovalAsker;
pub use collector::EventCollector;
pub use sender::WebhookSender;
pub use signal::EventSignal;
pub use trails::{TrailReader, TrailServices};

/// From this schema level on every process deletes the webhooks of a deleted tailnet.
const WEBHOOKS_LEVEL: u32 = 2;
/// The most webhooks of a tailnet.
const MOST_OF_TAILNET: usize = 20;
/// The most events in one answer, and those that one call sends again.
const LONGEST_LIST: i64 = 100;
const MOST_REPLAYED: i64 = 1000;

/// The place that a secret is sealed for.
pub(crate) fn secret_place(webhook_id: &str) -> String {
    format!("webhooks/{webhook_id}/secret")
}

/// Keeps the webhooks. Clones share it.
#[derive(Clone)]
pub struct Webhooks {
    log: ChangeLog,
    sealing: Option<Arc<SealingKeys>>,
    trails: TrailReader,
    events: EventSignal,
}

impl Webhooks {
    pub(crate) fn new(
        log: ChangeLog,
        sealing: Option<Arc<SealingKeys>>,
        trails: TrailReader,
        events: EventSignal,
    ) -> Self {
        Self {
            log,
            sealing,
            trails,
            events,
        }
    }

    fn sealing_keys(&self) -> Result<&Arc<SealingKeys>, IdentityError> {
        self.sealing.as_ref().ok_or(IdentityError::Refused(
            "identity has no sealing key, which secrets of webhooks are sealed with: make one with `bowline sealing-key create \
             FILE` and name it as sealing_key_file in [service] of its settings",
        ))
    }

    /// Makes a webhook, and returns it with its secret, which is shown to nobody again.
    pub(crate) async fn create_webhook(
        &self,
        tailnet: TailnetId,
        actor: String,
        wanted: CreateWebhookRequest,
    ) -> Result<CreateWebhookResponse, IdentityError> {
        if self.log.database().schema_level() < WEBHOOKS_LEVEL {
            return Err(IdentityError::Refused(
                "webhooks are taken once every process has had this version for a minute: bowline status shows them",
            ));
        }
        let url = webhook::check_url(&wanted.url)?;
        webhook::check_provider(&wanted.provider_type)?;
        let subscriptions = webhook::check_subscriptions(wanted.subscriptions)?;
        let keys = Arc::clone(self.sealing_keys()?);
        // Asked before, so that whatever happens after the answer is an event.
        let heads = self.trails.read_heads(tailnet).await?;
        let secret = make_secret();
        let made = self
            .log
            .mutate_once(tailnet, actor.clone(), move |mutation| {
                Box::pin(async move {
                    let now = mutation.now();
                    let on = mutation.connection();
                    require_tailnet(on, tailnet).await?;
                    if store::list_webhooks(&mut *on, tailnet.get()).await?.len() >= MOST_OF_TAILNET
                    {
                        let text = "the tailnet has 20 webhooks: delete one first";
                        return Err(IdentityError::Refused(text));
                    }
                    let made = Webhook {
                        id: next_id(on).await?.cast_unsigned(),
                        tailnet_id: tailnet.get(),
                        url,
                        provider_type: wanted.provider_type,
                        subscriptions,
                        creator: actor,
                        created_at: Some(to_timestamp(now)),
                        changed_at: Some(to_timestamp(now)),
                        ..Webhook::default()
                    };
                    let place = secret_place(&made.id.to_string());
                    let sealed = keys.seal(&place, secret.as_bytes());
                    store::insert_webhook(on, &made, sealed).await?;
                    for (owner, sequence) in heads {
                        let owner = owner.as_str();
                        webhook_cursors::begin_cursor(on, tailnet.get(), owner, sequence).await?;
                    }
                    let detail = json!({ "after": describe_webhook(&made) });
                    mutation.record_audit("webhook.create", made.id.to_string(), &detail);
                    Ok::<_, IdentityError>(CreateWebhookResponse {
                        webhook: Some(made),
                        secret: secret.to_string(),
                    })
                })
            });
        Ok(made.await?.0)
    }

    /// Returns the webhooks of a tailnet, oldest first.
    pub(crate) async fn list_webhooks(
        &self,
        tailnet: TailnetId,
    ) -> Result<Vec<Webhook>, IdentityError> {
        let reader = self.log.database().reader();
        Ok(store::list_webhooks(reader, tailnet.get()).await?)
    }

    /// Returns a webhook.
    pub(crate) async fn find_webhook(
        &self,
        tailnet: TailnetId,
        id: u64,
    ) -> Result<Webhook, IdentityError> {
        let reader = self.log.database().reader();
        let found = store::find_webhook(reader, tailnet.get(), id).await?;
        Ok(found.ok_or(IdentityError::NotFound("webhook"))?.webhook)
    }

    /// Changes what a webhook subscribes to; the same again changes nothing.
    pub(crate) async fn subscribe_webhook(
        &self,
        tailnet: TailnetId,
        actor: String,
        id: u64,
        subscriptions: Vec<String>,
    ) -> Result<UpdateWebhookResponse, IdentityError> {
        let subscriptions = webhook::check_subscriptions(subscriptions)?;
        let answer = |webhook| UpdateWebhookResponse {
            webhook: Some(webhook),
        };
        let changed = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let before = require_webhook(mutation, id).await?.webhook;
                if before.subscriptions == subscriptions {
                    return Ok(answer(before));
                }
                let changed = Webhook {
                    subscriptions,
                    changed_at: Some(to_timestamp(mutation.now())),
                    ..before.clone()
                };
                store::update_webhook(mutation.connection(), &changed).await?;
                let detail =
                    describe_change(&describe_webhook(&before), &describe_webhook(&changed));
                mutation.record_audit("webhook.update", id.to_string(), &detail);
                Ok::<_, IdentityError>(answer(changed))
            })
        });
        Ok(changed.await?.0)
    }

    /// Deletes a webhook, with what waits for it.
    pub(crate) async fn delete_webhook(
        &self,
        tailnet: TailnetId,
        actor: String,
        id: u64,
    ) -> Result<(), IdentityError> {
        let deleted = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let gone = require_webhook(mutation, id).await?.webhook;
                store::delete_webhook(mutation.connection(), tailnet.get(), id).await?;
                let detail = json!({ "before": describe_webhook(&gone), "waiting": gone.waiting });
                mutation.record_audit("webhook.delete", id.to_string(), &detail);
                Ok::<_, IdentityError>(())
            })
        });
        deleted.await?;
        Ok(())
    }

    /// Lets a test wait to be sent; returns its id.
    pub(crate) async fn test_webhook(
        &self,
        tailnet: TailnetId,
        actor: String,
        id: u64,
    ) -> Result<TestWebhookResponse, IdentityError> {
        let queued = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                require_webhook(mutation, id).await?;
                let name = require_tailnet(mutation.connection(), tailnet).await?.name;
                let event_id = hex::encode(random_bytes::<16>());
                let now = mutation.now();
                let event = webhook::test_event(event_id.clone(), &name, now);
                let on = mutation.connection();
                if !webhook_events::queue_event(on, id, &event, now).await? {
                    let text = "10,000 events wait for the webhook: see why it takes none";
                    return Err(IdentityError::Refused(text));
                }
                let detail = json!({ "event": event_id });
                mutation.record_audit("webhook.test", id.to_string(), &detail);
                Ok::<_, IdentityError>(TestWebhookResponse { event_id })
            })
        });
        let queued = queued.await?.0;
        self.events.wake_sender();
        Ok(queued)
    }

    /// Makes a new secret, and returns it with the webhook. For a while events are signed with both.
    pub(crate) async fn rotate_secret(
        &self,
        tailnet: TailnetId,
        actor: String,
        id: u64,
    ) -> Result<RotateWebhookSecretResponse, IdentityError> {
        let keys = Arc::clone(self.sealing_keys()?);
        let secret = make_secret();
        let rotated = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                require_webhook(mutation, id).await?;
                let sealed = keys.seal(&secret_place(&id.to_string()), secret.as_bytes());
                let ends = mutation.now() + webhook::OVERLAP;
                store::rotate_secret(mutation.connection(), id, sealed, ends).await?;
                let detail = json!({ "old_secret_ends_at": ends.to_rfc3339() });
                mutation.record_audit("webhook.rotate_secret", id.to_string(), &detail);
                let rotated = require_webhook(mutation, id).await?.webhook;
                Ok::<_, IdentityError>(RotateWebhookSecretResponse {
                    webhook: Some(rotated),
                    secret: secret.to_string(),
                })
            })
        });
        Ok(rotated.await?.0)
    }

    /// Returns some events that could not be delivered, oldest first.
    pub(crate) async fn list_undelivered(
        &self,
        tailnet: TailnetId,
        id: u64,
    ) -> Result<Vec<UndeliveredEvent>, IdentityError> {
        self.find_webhook(tailnet, id).await?;
        let reader = self.log.database().reader();
        Ok(webhook_events::list_undelivered(reader, id, LONGEST_LIST).await?)
    }

    /// Lets events that could not be delivered wait again; returns how many.
    pub(crate) async fn replay_events(
        &self,
        tailnet: TailnetId,
        actor: String,
        id: u64,
        event_id: String,
    ) -> Result<ReplayUndeliveredEventsResponse, IdentityError> {
        let replayed = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                // The sender may be at it.
                store::lock_webhook(mutation.connection(), id).await?;
                let waiting = require_webhook(mutation, id).await?.webhook.waiting;
                let room = webhook_events::MOST_WAITING - waiting.cast_signed();
                let (now, on) = (mutation.now(), mutation.connection());
                let most = MOST_REPLAYED.min(room.max(0));
                let moved = webhook_events::requeue_events(on, id, &event_id, most, now).await?;
                if moved == 0 && !event_id.is_empty() {
                    return Err(IdentityError::NotFound("undelivered event"));
                }
                if moved > 0 {
                    let detail = json!({ "events": moved });
                    mutation.record_audit("webhook.replay", id.to_string(), &detail);
                }
                Ok::<_, IdentityError>(ReplayUndeliveredEventsResponse { events: moved })
            })
        });
        let replayed = replayed.await?.0;
        self.events.wake_sender();
        Ok(replayed)
    }
}

async fn require_webhook(mutation: &mut Mutation, id: u64) -> Result<WebhookRow, IdentityError> {
    let tailnet = mutation.tailnet().get();
    let found = store::find_webhook(mutation.connection(), tailnet, id).await?;
    found.ok_or(IdentityError::NotFound("webhook"))
}

fn make_secret() -> Zeroizing<String> {
    let random = Zeroizing::new(random_bytes::<32>());
    let digits = Zeroizing::new(hex::encode(*random));
    Zeroizing::new(format!("bowline-webhook-{}", *digits))
}

fn describe_webhook(webhook: &Webhook) -> Value {
    // The whole URL may be a credential, as those of chat services are, and the trail is kept for ever.
    let url = Url::parse(&webhook.url).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    let hash: String = hex::encode(Sha256::digest(&webhook.url))
        .chars()
        .take(16)
        .collect();
    json!({
        "url": format!("https://{host}/…"),
        "url_hash": hash,
        "provider_type": webhook.provider_type,
        "subscriptions": webhook.subscriptions,
    })
}
