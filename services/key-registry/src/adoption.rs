//! Takes over what nodes report of themselves that policy judges: at once, or as soon as it may be.
//!
//! Only the newest report of a node counts, and it is kept with the node's soft state, so nothing queues up. What can not
//! be taken over now is noted with the time when it is looked at again: a node that is not in good standing waits until
//! it is, one that changes too often for its turn, and one that nobody can judge for the compiler to come back.

use std::{collections::BTreeSet, time::Duration};

use bowline_db::{Mutation, from_micros, to_micros};
use bowline_proto::{
    identity::v1::{ResolveUserRequest, identity_service_client::IdentityServiceClient},
    key_registry::v1::{HostReport, Node},
    policy::v1::{JudgeNodeRequest, JudgeNodeResponse},
};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use crate::{
    KeyRegistry,
    domain::{self, key, pace, routes, self_report, standing},
    error::RegistryError,
    node_changes, own_changes,
    registration::{machine_actor, tailnet_id},
    store::{
        adoptions::{self, Adoption, IN_GOOD_STANDING},
        barred_users, nodes, soft_states,
    },
};

/// How many nodes' reports are taken over at the same time.
const AT_ONCE: usize = 32;
/// How long those who reported wait for it; what takes longer is done later.
const PATIENCE: Duration = Duration::from_secs(2);
/// When that is.
const LATER: TimeDelta = TimeDelta::seconds(5);
/// How often a report is judged again because the node or its report changed meanwhile.
const TRIES: usize = 3;
/// How often it is looked what is due.
const LOOK: Duration = Duration::from_secs(1);

/// A report with what it was judged on.
struct Judged {
    host: HostReport,
    /// The node as it was then.
    node: Node,
    judgement: Option<JudgeNodeResponse>,
}

/// What became of a report.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Adopted {
    /// It is taken over, or noted for later.
    Done,
    /// The node or its report changed meanwhile.
    Changed,
}

/// What a node asks to change of itself.
struct Wanted {
    host: Option<HostReport>,
    end: Option<DateTime<Utc>>,
}

impl Wanted {
    fn of(node: &Node, host: Option<HostReport>, asked: &Adoption) -> Self {
        let end = asked.wished_end.and_then(from_micros);
        Self {
            host: host.filter(|host| self_report::differs(node, host)),
            end: end.filter(|end| key::can_end(node, *end)),
        }
    }

    fn is_nothing(&self) -> bool {
        self.host.is_none() && self.end.is_none()
    }
}

/// Says when a node may change itself: now, with the time when it has its whole burst again, or else when that is looked
/// at next.
fn turn(
    node: &Node,
    asked: &Adoption,
    is_user_barred: bool,
    now: DateTime<Utc>,
) -> Result<i64, i64> {
    if !standing::may_change_itself(node, is_user_barred, now) {
        return Err(IN_GOOD_STANDING);
    }
    let rested_at = from_micros(asked.rested_at).unwrap_or(now);
    pace::next_rest(pace::CHANGES, rested_at, now)
        .map(to_micros)
        .map_err(to_micros)
}

/// Takes over what is due, until the process ends.
pub async fn run(registry: KeyRegistry) {
    loop {
        let _ = tokio::time::timeout(LOOK, registry.due.notified()).await;
        if let Err(error) = registry.adopt_due().await {
            tracing::warn!(%error, "kept reports can not be taken over yet");
        }
    }
}

impl KeyRegistry {
    /// Takes over what is due, and puts on record what was held back.
    pub(crate) async fn adopt_due(&self) -> Result<(), RegistryError> {
        let now = self.log.database().now().await?;
        self.tell_own_changes(now).await?;
        let due = adoptions::due(self.log.database().reader(), now).await?;
        self.adopt_all(due).await
    }

    /// Takes over the newest reports of nodes, given with their tailnets, now or later; fails when it could not even be
    /// noted for later.
    pub(crate) async fn adopt_all(&self, nodes: Vec<(u64, u64)>) -> Result<(), RegistryError> {
        if nodes.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        let mut late: BTreeSet<_> = nodes.iter().copied().collect();
        let adopting = nodes.into_iter().map(async |of| {
            let adopted = tokio::time::timeout_at(deadline, self.adopt(of)).await;
            (of, adopted)
        });
        let mut adopting = stream::iter(adopting).buffer_unordered(AT_ONCE);
        while let Some((of, adopted)) = adopting.next().await {
            match adopted {
                Ok(Ok(Adopted::Done)) => {
                    late.remove(&of);
                }
                Ok(Ok(Adopted::Changed)) => {}
                Ok(Err(error)) => {
                    tracing::debug!(node = of.1, %error, "a report can not be taken over yet");
                }
                Err(_) => tracing::debug!(node = of.1, "a report is taken over later"),
            }
        }
        if late.is_empty() {
            return Ok(());
        }
        self.log
            .database()
            .write(move |write| {
                Box::pin(async move {
                    let due = write.now() + LATER;
                    for of in late {
                        adoptions::note(write.connection(), of, due).await?;
                    }
                    Ok::<_, RegistryError>(())
                })
            })
            .await
    }

    async fn adopt(&self, of: (u64, u64)) -> Result<Adopted, RegistryError> {
        for _ in 0..TRIES {
            if self.try_adopt(of).await? == Adopted::Done {
                return Ok(Adopted::Done);
            }
        }
        Ok(Adopted::Changed)
    }

    async fn try_adopt(&self, (tailnet, id): (u64, u64)) -> Result<Adopted, RegistryError> {
        let reader = self.log.database().reader();
        let Some(node) = nodes::by_id(reader, tailnet, id).await? else {
            return Ok(Adopted::Done);
        };
        let host = soft_states::by_node(reader, id)
            .await?
            .and_then(|row| row.host);
        let asked = adoptions::by_node(reader, id).await?;
        let asked = asked.unwrap_or_else(|| Adoption::of(&node));
        let wanted = Wanted::of(&node, host.clone(), &asked);
        if wanted.is_nothing() && asked.due.is_none() {
            return Ok(Adopted::Done);
        }
        let is_barred = barred_users::is_barred(reader, &node).await?;
        let now = self.log.database().now().await?;
        let may = turn(&node, &asked, is_barred, now);
        if !wanted.is_nothing()
            && let Err(due) = may
            && asked.due == Some(due)
        {
            // It is noted already: a flood of reports writes nothing more.
            return Ok(Adopted::Done);
        }
        let judgement = match &wanted.host {
            Some(host) if may.is_ok() && self_report::needs_judgement(&node, host) => {
                Some(self.judge_report(&node, host).await?)
            }
            _ => None,
        };
        let (actor, tailnet) = (machine_actor(&node.machine_key), tailnet_id(tailnet)?);
        let judged = Judged {
            host: host.unwrap_or_default(),
            node,
            judgement,
        };
        let (adopted, _) = self
            .log
            .mutate(tailnet, actor, move |mutation| {
                Box::pin(take_over(mutation, judged))
            })
            .await?;
        Ok(adopted)
    }

    /// Lets a key end sooner, or notes that it is to when its node may change itself again; what became of it meanwhile
    /// stays.
    pub(crate) async fn shorten(
        &self,
        node: Node,
        end: DateTime<Utc>,
    ) -> Result<(Node, u64), RegistryError> {
        let tailnet = tailnet_id(node.tailnet_id)?;
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
                    let mut asked = asked.unwrap_or_else(|| Adoption::of(&node));
                    let is_barred = barred_users::is_barred(mutation.connection(), &node).await?;
                    match turn(&node, &asked, is_barred, mutation.now()) {
                        Ok(rested_at) => {
                            asked.rested_at = rested_at;
                            let before = node.clone();
                            node.key_expiry = Some(domain::to_timestamp(end));
                            node_changes::put(mutation, &node, None).await?;
                            own_changes::record(mutation, &mut asked, &before, &node);
                        }
                        Err(due) => {
                            asked.wished_end = Some(to_micros(end));
                            asked.due = Some(due);
                        }
                    }
                    adoptions::put(mutation.connection(), &asked).await?;
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
    ) -> Result<JudgeNodeResponse, RegistryError> {
        let wanted = domain::retagging::Retagging::of(node, host);
        let mut question = JudgeNodeRequest {
            tailnet_id: node.tailnet_id,
            current_tags: node.tags.clone(),
            requested_tags: wanted.wanted().to_vec(),
            advertised_routes: host.advertised_routes.clone(),
            ..JudgeNodeRequest::default()
        };
        if node.goes_with_user() {
            let mut identity = IdentityServiceClient::new(self.peers.identity.clone());
            let user = ResolveUserRequest {
                tailnet_id: node.tailnet_id,
                user_id: node.user_id,
            };
            let answer = identity.resolve_user(user).await;
            let answer = answer.map_err(RegistryError::service("identity"))?;
            let user = answer.into_inner().user.unwrap_or_default();
            if user.suspended {
                // This registry has not heard of it yet, but will in a moment.
                let text = "the node's user is suspended";
                return Err(RegistryError::Refused(text.to_owned()));
            }
            if node.tags.is_empty() {
                question.user_id = user.id;
                question.login_name = user.login_name;
                question.groups = user.groups;
                question.role = user.role;
            }
        }
        self.judge(question).await
    }
}

/// Takes over the newest report and wish of a node, or notes when it may be: everything is looked at again, for this is
/// where nobody else changes it.
async fn take_over(mutation: &mut Mutation, judged: Judged) -> Result<Adopted, RegistryError> {
    let Judged {
        host: judged_host,
        node: judged_node,
        judgement,
    } = judged;
    let now = mutation.now();
    let (tailnet, id) = (judged_node.tailnet_id, judged_node.id);
    let Some(mut node) = nodes::by_id(mutation.connection(), tailnet, id).await? else {
        return Ok(Adopted::Done);
    };
    let soft = soft_states::by_node(mutation.connection(), id).await?;
    let asked = adoptions::by_node(mutation.connection(), id).await?;
    let mut asked = asked.unwrap_or_else(|| Adoption::of(&node));
    let wanted = Wanted::of(&node, soft.and_then(|row| row.host), &asked);
    if wanted.is_nothing() {
        (asked.due, asked.wished_end) = (None, None);
        adoptions::put(mutation.connection(), &asked).await?;
        return Ok(Adopted::Done);
    }
    let is_barred = barred_users::is_barred(mutation.connection(), &node).await?;
    match turn(&node, &asked, is_barred, now) {
        Ok(rested_at) => asked.rested_at = rested_at,
        Err(due) => {
            asked.due = Some(due);
            adoptions::put(mutation.connection(), &asked).await?;
            return Ok(Adopted::Done);
        }
    }
    let before = node.clone();
    if let Some(host) = wanted.host {
        let is_as_judged = host == judged_host
            && (node.user_id, &node.tags, &node.node_key)
                == (
                    judged_node.user_id,
                    &judged_node.tags,
                    &judged_node.node_key,
                )
            && (judgement.is_some() || !self_report::needs_judgement(&node, &host));
        if !is_as_judged {
            return Ok(Adopted::Changed);
        }
        self_report::apply(&mut node, &host, judgement.as_ref(), now);
        node_changes::follow_hostname(mutation, &mut node, &before.hostname).await?;
    }
    if let Some(end) = wanted.end.filter(|end| key::can_end(&node, *end)) {
        node.key_expiry = Some(domain::to_timestamp(end));
    }
    node_changes::put(mutation, &node, None).await?;
    own_changes::record(mutation, &mut asked, &before, &node);
    (asked.due, asked.wished_end) = (None, None);
    adoptions::put(mutation.connection(), &asked).await?;
    if routes::may_move_primaries(&before, &node) {
        node_changes::elect_primaries(mutation).await?;
    }
    Ok(Adopted::Done)
}

#[cfg(test)]
mod tests;
