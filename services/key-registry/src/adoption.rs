//! Takes over what nodes report of themselves that policy judges: at once, or as soon as it may be.
//!
//! Only the newest report of a node counts, and it is kept with the node's soft state, so nothing queues up. What can not
//! be taken over now is noted with the time when it is looked at again: a node that is not in good standing waits until
//! it is, one that changes too often for its turn, and one that nobody can judge for the compiler to come back.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bowline_db::{ChangeLog, Mutation, from_micros, to_micros};
use bowline_proto::{
    key_registry::v1::{HostReport, Node},
    policy::v1::JudgeNodeRequest,
};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt as _, stream};
use tokio::{sync::Notify, time::Instant};

use crate::{
    actors::machine_actor,
    asked_services::AskedServices,
    domain::{
        key, pace, report_judgement::ReportJudgement, retagging::Retagging, routes, self_report,
        standing,
    },
    error::RegistryError,
    fields::read_tailnet_id,
    node_changes, own_changes, rotations,
    store::{
        TailnetNode,
        adoptions::{self, AdoptionRow, DUE_IN_GOOD_STANDING},
        barred_users, nodes, soft_states,
    },
};

/// How many reports are taken over at the same time.
const MOST_AT_ONCE: usize = 32;
/// How long a gateway that reported waits for it; what takes longer is done later.
const ADOPTION_TIMEOUT: Duration = Duration::from_secs(2);
/// How much later.
const RETRY_DELAY: TimeDelta = TimeDelta::seconds(5);
/// How often a report is judged again because the node or its report changed meanwhile.
const MOST_TRIES: usize = 3;
/// How often it is looked what is due.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A report with what it was judged on.
struct JudgedReport {
    host: Option<HostReport>,
    /// The node as it was then.
    node: Node,
    judgement: Option<ReportJudgement>,
}

/// What became of a report.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AdoptionOutcome {
    /// It is taken over, or noted for later.
    Done,
    /// The node or its report changed meanwhile.
    Changed,
}

/// What a node asks to change of itself.
struct SelfChange {
    host: Option<HostReport>,
    end: Option<DateTime<Utc>>,
}

impl SelfChange {
    fn pending_for(node: &Node, host: Option<HostReport>, asked: &AdoptionRow) -> Self {
        let end = asked.wished_end.and_then(from_micros);
        Self {
            host: host.filter(|host| self_report::differs_from_node(node, host)),
            end: end.filter(|end| key::can_end(node, *end)),
        }
    }

    fn is_empty(&self) -> bool {
        self.host.is_none() && self.end.is_none()
    }
}

/// Whether a node may change itself now. The times are as its row keeps them, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SelfChangeTurn {
    /// It may. After this change its whole burst of changes is allowed again at `rested_at`.
    Now { rested_at: i64 },
    /// It may not. It is looked at again at `due`.
    Later { due: i64 },
}

impl SelfChangeTurn {
    fn for_node(
        node: &Node,
        asked: &AdoptionRow,
        is_user_barred: bool,
        now: DateTime<Utc>,
    ) -> Self {
        if !standing::may_change_itself(node, is_user_barred, now) {
            let due = DUE_IN_GOOD_STANDING;
            return Self::Later { due };
        }
        let rested_at = from_micros(asked.rested_at).unwrap_or(now);
        match pace::next_rest(pace::CHANGES, rested_at, now) {
            Ok(rested_at) => Self::Now {
                rested_at: to_micros(rested_at),
            },
            Err(due) => Self::Later {
                due: to_micros(due),
            },
        }
    }

    fn is_now(self) -> bool {
        matches!(self, Self::Now { .. })
    }
}

/// Takes over reports. Clones share it.
#[derive(Clone, Debug)]
pub struct Adoption {
    log: ChangeLog,
    services: AskedServices,
    /// Wakes the loop that takes over what is due.
    due: Arc<Notify>,
}

impl Adoption {
    pub(crate) fn new(log: ChangeLog, services: AskedServices) -> Self {
        let due = Arc::default();
        Self { log, services, due }
    }

    /// Lets what is due be looked at now.
    pub(crate) fn wake(&self) {
        self.due.notify_one();
    }

    /// Takes over what is due, until the process ends.
    pub(crate) async fn run(self) {
        loop {
            // Either way it looks.
            drop(tokio::time::timeout(POLL_INTERVAL, self.due.notified()).await);
            if let Err(error) = self.adopt_due_reports().await {
                tracing::warn!(%error, "kept reports can not be taken over yet");
            }
        }
    }

    /// Takes over what is due, and puts on record what was held back.
    pub(crate) async fn adopt_due_reports(&self) -> Result<(), RegistryError> {
        let now = self.log.database().now().await?;
        own_changes::audit_deferred_changes(&self.log, now).await?;
        let due = adoptions::list_due(self.log.database().reader(), now).await?;
        self.adopt_reports(due).await
    }

    /// Takes over the newest reports of nodes, given with their tailnets, now or later; fails when it could not even be
    /// noted for later.
    pub(crate) async fn adopt_reports(&self, nodes: Vec<TailnetNode>) -> Result<(), RegistryError> {
        if nodes.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + ADOPTION_TIMEOUT;
        let mut late: BTreeSet<_> = nodes.iter().copied().collect();
        let adopting = nodes.into_iter().map(async |of| {
            let adopted = tokio::time::timeout_at(deadline, self.adopt_report(of)).await;
            (of, adopted)
        });
        let mut adopting = stream::iter(adopting).buffer_unordered(MOST_AT_ONCE);
        while let Some((of, adopted)) = adopting.next().await {
            match adopted {
                Ok(Ok(AdoptionOutcome::Done)) => {
                    late.remove(&of);
                }
                Ok(Ok(AdoptionOutcome::Changed)) => {}
                Ok(Err(error)) => {
                    tracing::debug!(node = of.node_id, %error, "a report can not be taken over yet");
                }
                Err(_) => tracing::debug!(node = of.node_id, "a report is taken over later"),
            }
        }
        if late.is_empty() {
            return Ok(());
        }
        self.log
            .database()
            .write(move |write| {
                Box::pin(async move {
                    let due = write.now() + RETRY_DELAY;
                    for of in late {
                        adoptions::note_due(write.connection(), of, due).await?;
                    }
                    Ok::<_, RegistryError>(())
                })
            })
            .await
    }

    async fn adopt_report(&self, of: TailnetNode) -> Result<AdoptionOutcome, RegistryError> {
        for _ in 0..MOST_TRIES {
            if self.try_adopt_report(of).await? == AdoptionOutcome::Done {
                return Ok(AdoptionOutcome::Done);
            }
        }
        Ok(AdoptionOutcome::Changed)
    }

    async fn try_adopt_report(&self, of: TailnetNode) -> Result<AdoptionOutcome, RegistryError> {
        let reader = self.log.database().reader();
        let Some(node) = nodes::by_id(reader, of.tailnet_id, of.node_id).await? else {
            return Ok(AdoptionOutcome::Done);
        };
        let host = soft_states::by_node(reader, of.node_id)
            .await?
            .and_then(|row| row.host);
        let asked = adoptions::by_node(reader, of.node_id).await?;
        let asked = asked.unwrap_or_else(|| AdoptionRow::for_node(&node));
        let wanted = SelfChange::pending_for(&node, host.clone(), &asked);
        if wanted.is_empty() && asked.due.is_none() {
            return Ok(AdoptionOutcome::Done);
        }
        let is_barred = barred_users::is_barred(reader, &node).await?;
        let now = self.log.database().now().await?;
        let turn = SelfChangeTurn::for_node(&node, &asked, is_barred, now);
        if !wanted.is_empty()
            && let SelfChangeTurn::Later { due } = turn
            && asked.due == Some(due)
        {
            // That is recorded already: a flood of reports writes nothing more.
            return Ok(AdoptionOutcome::Done);
        }
        let judgement = match &wanted.host {
            Some(host) if turn.is_now() && self_report::needs_judgement(&node, host) => {
                Some(self.judge_report(&node, host).await?)
            }
            _ => None,
        };
        let (actor, tailnet) = (
            machine_actor(&node.machine_key),
            read_tailnet_id(of.tailnet_id)?,
        );
        let judged = JudgedReport {
            host,
            node,
            judgement,
        };
        let (adopted, _) = self
            .log
            .mutate(tailnet, actor, move |mutation| {
                Box::pin(take_over_report(mutation, judged))
            })
            .await?;
        Ok(adopted)
    }

    /// Lets a key end sooner. While its node may not change itself, the wish is kept until it may.
    pub(crate) async fn shorten_key(
        &self,
        node: Node,
        end: DateTime<Utc>,
    ) -> Result<(Node, u64), RegistryError> {
        let tailnet = read_tailnet_id(node.tailnet_id)?;
        let actor = machine_actor(&node.machine_key);
        let (node, revision) = self
            .log
            .mutate(tailnet, actor, move |mutation| {
                Box::pin(async move {
                    let found = nodes::by_key(mutation.connection(), &node.node_key).await?;
                    let mut node = found.ok_or(RegistryError::NotFound("node key"))?;
                    if !key::can_end(&node, end) {
                        return Ok(node);
                    }
                    let asked = adoptions::by_node(mutation.connection(), node.id).await?;
                    let mut asked = asked.unwrap_or_else(|| AdoptionRow::for_node(&node));
                    let is_barred = barred_users::is_barred(mutation.connection(), &node).await?;
                    let now = mutation.now();
                    match SelfChangeTurn::for_node(&node, &asked, is_barred, now) {
                        SelfChangeTurn::Now { rested_at } => {
                            asked.rested_at = rested_at;
                            let before = node.clone();
                            key::shorten(&mut node, end);
                            node_changes::write_node(mutation, &node, None).await?;
                            own_changes::audit_own_change(mutation, &mut asked, &before, &node);
                        }
                        SelfChangeTurn::Later { due } => {
                            asked.wished_end = Some(to_micros(end));
                            asked.due = Some(due);
                        }
                    }
                    adoptions::put_row(mutation.connection(), &asked).await?;
                    Ok::<_, RegistryError>(node)
                })
            })
            .await?;
        Ok((node, revision.get()))
    }

    /// Asks what the policy says of a report, for a node whose user, if it goes with one, is in good standing.
    async fn judge_report(
        &self,
        node: &Node,
        host: &HostReport,
    ) -> Result<ReportJudgement, RegistryError> {
        let wanted = Retagging::from_report(node, host);
        let mut question = JudgeNodeRequest {
            tailnet_id: node.tailnet_id,
            current_tags: node.tags.clone(),
            requested_tags: wanted.requested_tags().to_vec(),
            advertised_routes: host.advertised_routes.clone(),
            ..JudgeNodeRequest::default()
        };
        if node.goes_with_user() {
            let found = self
                .services
                .resolve_user(node.tailnet_id, node.user_id)
                .await?;
            let Some(user) = found.map(|found| found.user).filter(|user| !user.suspended) else {
                // This registry has not heard of it yet, but will in a moment.
                let text = "the node's user is suspended or gone";
                return Err(RegistryError::Refused(text.to_owned()));
            };
            if node.tags.is_empty() {
                question = question.for_user(user);
            }
        }
        let judgement = ReportJudgement::new(self.services.judge_node(question).await?);
        if wanted.requested_tags().is_empty() {
            return Ok(judgement);
        }
        let found = self.services.resolve_tailnet(node.tailnet_id).await?;
        let policy = found.and_then(|tailnet| tailnet.key_policy);
        Ok(judgement.heed_key_policy(&policy.unwrap_or_default(), node, wanted.requested_tags()))
    }
}

/// Takes over the newest report and wish of a node, or records when to try again. Everything is read once more: only
/// inside the transaction does nobody else change it.
async fn take_over_report(
    mutation: &mut Mutation,
    judged: JudgedReport,
) -> Result<AdoptionOutcome, RegistryError> {
    let JudgedReport {
        host: judged_host,
        node: judged_node,
        judgement,
    } = judged;
    let now = mutation.now();
    let (tailnet, id) = (judged_node.tailnet_id, judged_node.id);
    let Some(mut node) = nodes::by_id(mutation.connection(), tailnet, id).await? else {
        return Ok(AdoptionOutcome::Done);
    };
    let soft = soft_states::by_node(mutation.connection(), id).await?;
    let asked = adoptions::by_node(mutation.connection(), id).await?;
    let mut asked = asked.unwrap_or_else(|| AdoptionRow::for_node(&node));
    let wanted = SelfChange::pending_for(&node, soft.and_then(|row| row.host), &asked);
    if wanted.is_empty() {
        (asked.due, asked.wished_end) = (None, None);
        adoptions::put_row(mutation.connection(), &asked).await?;
        return Ok(AdoptionOutcome::Done);
    }
    let is_barred = barred_users::is_barred(mutation.connection(), &node).await?;
    match SelfChangeTurn::for_node(&node, &asked, is_barred, now) {
        SelfChangeTurn::Now { rested_at } => asked.rested_at = rested_at,
        SelfChangeTurn::Later { due } => {
            asked.due = Some(due);
            adoptions::put_row(mutation.connection(), &asked).await?;
            return Ok(AdoptionOutcome::Done);
        }
    }
    let before = node.clone();
    if let Some(host) = wanted.host {
        let is_as_judged = judged_host.as_ref() == Some(&host)
            && (node.user_id, &node.tags, &node.node_key)
                == (
                    judged_node.user_id,
                    &judged_node.tags,
                    &judged_node.node_key,
                )
            && (judgement.is_some() || !self_report::needs_judgement(&node, &host));
        if !is_as_judged {
            return Ok(AdoptionOutcome::Changed);
        }
        self_report::apply_report(&mut node, &host, judgement.as_ref(), now);
        rotations::follow_rules(mutation, &before, &mut node).await?;
        node_changes::follow_hostname(mutation, &mut node, &before.hostname).await?;
    }
    if let Some(end) = wanted.end.filter(|end| key::can_end(&node, *end)) {
        key::shorten(&mut node, end);
    }
    node_changes::write_node(mutation, &node, None).await?;
    own_changes::audit_own_change(mutation, &mut asked, &before, &node);
    (asked.due, asked.wished_end) = (None, None);
    adoptions::put_row(mutation.connection(), &asked).await?;
    if routes::may_move_primaries(&before, &node) {
        node_changes::elect_primaries(mutation).await?;
    }
    Ok(AdoptionOutcome::Done)
}

#[cfg(test)]
mod tests;
