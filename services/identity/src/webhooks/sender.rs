//! Sends the events that wait, each webhook's one after the other.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bowline_clock::random_bytes;
use bowline_db::ChangeLog;
use bowline_http_client::HttpClient;
use bowline_sealing::SealingKeys;
use bowline_service_kit::error_text;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use http::{Request, header};
use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, MissedTickBehavior},
};
use zeroize::Zeroizing;

use super::{secret_place, signal::EventSignal};
use crate::{
    domain::webhook::{GIVE_UP_AFTER, pause_after, request_body, sign_body},
    error::IdentityError,
    store::{
        webhook_events::{self, QueuedEvent},
        webhooks::{self as store, DueLimits, DueWebhook, WebhookClaim, WebhookRow},
    },
};

/// How often it is looked for what nobody was woken for: what failed before, and what another replica left.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How many webhooks one look finds, how many a replica sends to at once, and how many of one tailnet.
const MOST_FOUND: i64 = 512;
const MOST_AT_ONCE: usize = 256;
const MOST_OF_TAILNET: usize = 4;
/// How many events of a webhook are sent, and for how long, before others have their turn.
const MOST_IN_TURN: usize = 100;
const LONGEST_TURN: Duration = Duration::from_secs(10);
/// How long a webhook is a replica's without a word: longer than an answer may take.
const CLAIM: TimeDelta = TimeDelta::seconds(30);
/// The longest description of a failure.
const LONGEST_PROBLEM: usize = 300;
/// The header of the hosted service, so that receivers written for it check the signature.
pub(super) const SIGNATURE: &str = "tailscale-webhook-signature";
/// The header with the event's id.
pub(super) const EVENT_ID: &str = "bowline-webhook-event";

/// Sends until the process ends. Clones share it.
#[derive(Clone)]
pub struct WebhookSender {
    log: ChangeLog,
    sealing: Arc<SealingKeys>,
    client: HttpClient,
    events: EventSignal,
    look_interval: Duration,
}

/// What a webhook is sent with.
struct Receiver {
    row: WebhookRow,
    secrets: Result<Vec<Zeroizing<String>>, String>,
}

/// The webhooks that are sent to.
#[derive(Default)]
struct SendingTasks {
    tasks: JoinSet<(u64, Result<(), IdentityError>)>,
    /// The webhooks, with their tailnets.
    busy: BTreeMap<u64, u64>,
}

impl SendingTasks {
    /// Returns the tailnets of which as many webhooks are sent to as may be.
    fn list_busy_tailnets(&self) -> Vec<u64> {
        let mut counted = BTreeMap::<u64, usize>::new();
        for tailnet in self.busy.values() {
            *counted.entry(*tailnet).or_default() += 1;
        }
        counted.retain(|_, webhooks| *webhooks >= MOST_OF_TAILNET);
        counted.into_keys().collect()
    }

    /// Says whether a webhook may be sent to beside those that are.
    fn has_room(&self, webhook: DueWebhook) -> bool {
        let of_tailnet = self.busy.values().filter(|one| **one == webhook.tailnet_id);
        self.busy.len() < MOST_AT_ONCE
            && !self.busy.contains_key(&webhook.id)
            && of_tailnet.count() < MOST_OF_TAILNET
    }

    fn send(&mut self, sender: &WebhookSender, webhook: DueWebhook) {
        self.busy.insert(webhook.id, webhook.tailnet_id);
        let sender = sender.clone();
        self.tasks
            .spawn(async move { (webhook.id, sender.send_some(webhook).await) });
    }

    /// Waits until a webhook has left its place; says whether the place is for another now.
    async fn next_end(&mut self) -> bool {
        match self.tasks.join_next().await {
            Some(ended) => self.note_end(ended),
            None => std::future::pending().await,
        }
    }

    fn note_end(&mut self, ended: Result<(u64, Result<(), IdentityError>), JoinError>) -> bool {
        match ended {
            Ok((webhook, sent)) => {
                self.busy.remove(&webhook);
                if let Err(error) = &sent {
                    tracing::warn!(%error, webhook, "the events of a webhook wait");
                }
                sent.is_ok()
            }
            // Which it was is not known. A webhook is taken once all the same.
            Err(error) => {
                tracing::error!(%error, "sending to a webhook has failed");
                self.busy.clear();
                false
            }
        }
    }
}

impl WebhookSender {
    pub(crate) fn new(
        log: ChangeLog,
        sealing: Arc<SealingKeys>,
        client: HttpClient,
        events: EventSignal,
    ) -> Self {
        Self {
            log,
            sealing,
            client,
            events,
            look_interval: LOOK_INTERVAL,
        }
    }

    pub(crate) async fn run(self) {
        let mut sending = SendingTasks::default();
        let mut looks = tokio::time::interval(self.look_interval);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_due = tokio::select! {
                () = self.events.wait_for_events() => true,
                has_room = sending.next_end() => has_room,
                _ = looks.tick() => true,
            };
            if !is_due {
                continue;
            }
            match self.list_due(&sending.list_busy_tailnets()).await {
                Ok(due) => {
                    for webhook in due {
                        if sending.has_room(webhook) {
                            sending.send(&self, webhook);
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "it is not known which webhooks to send to"),
            }
        }
    }

    async fn list_due(&self, busy: &[u64]) -> Result<Vec<DueWebhook>, IdentityError> {
        let database = self.log.database();
        let now = database.now().await?;
        let limits = DueLimits {
            most: MOST_FOUND,
            of_tailnet: i64::try_from(MOST_OF_TAILNET).unwrap_or(i64::MAX),
            busy,
        };
        Ok(store::list_due(database.reader(), now, limits).await?)
    }

    /// Sends events of a webhook until none waits, one fails, or others have their turn.
    async fn send_some(&self, webhook: DueWebhook) -> Result<(), IdentityError> {
        let number = i64::from_be_bytes(random_bytes());
        let sent = self.take_turn(webhook, number).await;
        self.release(webhook, number).await?;
        sent
    }

    async fn take_turn(&self, webhook: DueWebhook, number: i64) -> Result<(), IdentityError> {
        let (begun, mut sent) = (Instant::now(), 0);
        while let Some((claim, receiver, event)) = self.take_event(webhook, number).await? {
            let result = self.send_event(&receiver, &event).await;
            let is_delivered = result.is_ok();
            if !is_delivered {
                metrics::counter!("bowline_identity_webhook_failures_total").increment(1);
            }
            self.note_result(claim, &receiver, &event, result).await?;
            sent += 1;
            if !is_delivered || sent >= MOST_IN_TURN || begun.elapsed() >= LONGEST_TURN {
                break;
            }
        }
        Ok(())
    }

    /// Takes a webhook, or keeps it, and returns its first event with what it takes to send that.
    async fn take_event(
        &self,
        webhook: DueWebhook,
        number: i64,
    ) -> Result<Option<(WebhookClaim, Receiver, QueuedEvent)>, IdentityError> {
        let taken = self.log.database().write(move |write| {
            Box::pin(async move {
                let (now, on) = (write.now(), write.connection());
                let claim = WebhookClaim {
                    id: webhook.id,
                    number,
                    until: now + CLAIM,
                };
                if !store::claim_webhook(on, claim, now).await? {
                    return Ok(None);
                }
                let row = store::find_webhook(&mut *on, webhook.tailnet_id, webhook.id).await?;
                let event = webhook_events::find_first(&mut *on, webhook.id).await?;
                if event.is_none() {
                    store::note_nothing_waits(on, claim).await?;
                }
                Ok::<_, IdentityError>(row.zip(event).map(|(row, event)| (claim, row, event, now)))
            })
        });
        let Some((claim, row, event, now)) = taken.await? else {
            return Ok(None);
        };
        // What can not be opened is a failure as any other: its events are given up in time.
        let secrets = open_secrets(&self.sealing, &row, now);
        let secrets = secrets.map_err(|error| error.to_string());
        Ok(Some((claim, Receiver { row, secrets }, event)))
    }

    async fn send_event(&self, receiver: &Receiver, event: &QueuedEvent) -> Result<(), String> {
        let webhook = &receiver.row.webhook;
        let parsed = serde_json::from_str(&event.body).map_err(|error| error.to_string())?;
        let body = request_body(&webhook.provider_type, &parsed);
        let secrets = receiver.secrets.as_ref().map_err(Clone::clone)?;
        let secrets: Vec<&str> = secrets.iter().map(|secret| &***secret).collect();
        let now = self.log.database().now().await;
        let now = now.map_err(|error| error.to_string())?;
        let request = Request::post(&webhook.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(SIGNATURE, sign_body(&secrets, &body, now))
            .header(EVENT_ID, &event.id)
            .body(Bytes::from(body));
        let request = request.map_err(|error| error_text(&error))?;
        let answer = self.client.send(request).await;
        let status = answer.map_err(|error| error_text(&error))?.status();
        match status.is_success() {
            true => Ok(()),
            false => Err(format!("the answer is {status}")),
        }
    }

    /// Notes what became of an event. Where the webhook was taken by another replica meanwhile, that one sends it again.
    async fn note_result(
        &self,
        claim: WebhookClaim,
        receiver: &Receiver,
        event: &QueuedEvent,
        result: Result<(), String>,
    ) -> Result<(), IdentityError> {
        let position = event.position;
        let failures = receiver.row.webhook.failures + 1;
        let noted = self.log.database().write(move |write| {
            Box::pin(async move {
                let (now, on) = (write.now(), write.connection());
                let Err(problem) = result else {
                    if store::note_delivery(on, claim, now).await? {
                        webhook_events::delete_event(on, claim.id, position).await?;
                    }
                    return Ok(0);
                };
                let problem: String = problem.chars().take(LONGEST_PROBLEM).collect();
                let next = now + pause_after(failures, random_bytes::<1>()[0]);
                if !store::note_failure(on, claim, next, &problem).await? {
                    return Ok(0);
                }
                webhook_events::count_attempt(on, claim.id, position, &problem).await?;
                let before = now - GIVE_UP_AFTER;
                let given_up = webhook_events::give_up_events(on, claim.id, before, now).await?;
                store::note_given_up(on, claim.id, given_up).await?;
                Ok::<_, IdentityError>(given_up)
            })
        });
        let given_up = noted.await?;
        if given_up > 0 {
            let count = given_up.unsigned_abs();
            metrics::counter!("bowline_identity_undelivered_events_total").increment(count);
        }
        Ok(())
    }

    async fn release(&self, webhook: DueWebhook, number: i64) -> Result<(), IdentityError> {
        let released = self.log.database().write(move |write| {
            Box::pin(async move {
                let claim = WebhookClaim {
                    id: webhook.id,
                    number,
                    until: DateTime::UNIX_EPOCH,
                };
                store::release_webhook(write.connection(), claim).await?;
                Ok::<_, IdentityError>(())
            })
        });
        released.await
    }
}

/// Opens the secrets that events are signed with, the newest first.
pub(super) fn open_secrets(
    sealing: &SealingKeys,
    row: &WebhookRow,
    now: DateTime<Utc>,
) -> Result<Vec<Zeroizing<String>>, IdentityError> {
    let place = secret_place(&row.webhook.id.to_string());
    let open = |sealed: &[u8]| {
        let opened = sealing.open(&place, sealed);
        let opened = opened
            .map_err(|error| IdentityError::Sealed(format!("webhook {}", row.webhook.id), error))?;
        Ok::<_, IdentityError>(Zeroizing::new(
            String::from_utf8_lossy(&opened).into_owned(),
        ))
    };
    let mut secrets = vec![open(&row.sealed_secret)?];
    let ends = row.webhook.old_secret_ends_at;
    let ends = ends.and_then(bowline_proto::time::from_timestamp);
    if let (Some(sealed), true) = (&row.sealed_old_secret, ends.is_some_and(|ends| now < ends)) {
        secrets.push(open(sealed)?);
    }
    Ok(secrets)
}

#[cfg(test)]
mod tests;
