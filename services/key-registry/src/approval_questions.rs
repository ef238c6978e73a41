//! Lets an outside system decide on machines that wait for approval, where the key policy names one.
//!
//! ```text
//! registration: the node waits, and a question is written with it, one commit
//! this: takes a question ─▶ identity asks the outside system ─▶ approved, denied, or left to an administrator; audited
//! ```
//!
//! A registration waits for none of this: the replica that commits it wakes its own loop. What a crash interrupts is found by the
//! next slow look of any replica and asked again; identity can be away for a while.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bowline_clock::random_bytes;
use bowline_db::{ChangeLog, Mutation};
use bowline_proto::{
    identity::v1::{ApprovalDecision, AskApprovalRequest, AskApprovalResponse, KeyPolicy},
    key_registry::v1::{Node, RegisterRequest},
};
use bowline_service_kit::{Caller, ServiceName};
use chrono::TimeDelta;
use serde_json::json;
use tokio::{
    sync::Notify,
    task::{JoinError, JoinSet},
    time::MissedTickBehavior,
};

use crate::{
    actors::REGISTRY_ACTOR,
    asked_services::AskedServices,
    domain::admission,
    error::RegistryError,
    fields::read_tailnet_id,
    nodes::{NodeTarget, Nodes},
    store::{TailnetNode, approval_questions, nodes},
};

/// How often it is looked for questions that nobody was woken for.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How many a replica asks at once, and how many of one tailnet.
const MOST_AT_ONCE: usize = 64;
const MOST_OF_TAILNET: usize = 4;
/// How many one look finds.
const MOST_FOUND: i64 = 512;
/// How long a question is a replica's without a word: longer than an answer may take.
const CLAIM: TimeDelta = TimeDelta::seconds(45);
/// How often it is asked where nobody says what became of it.
const MOST_ATTEMPTS: i64 = 20;

/// Says whether the key policy names somebody to ask about a node, which waits.
pub(crate) fn is_asked_about(policy: Option<&KeyPolicy>, node: &Node) -> bool {
    let names_webhook = policy.is_some_and(|policy| policy.approval_webhook.is_some());
    names_webhook && !node.approved && !node.denied
}

/// Writes the question about a node that waits, if the key policy names somebody to ask. Whoever commits it calls
/// [`ApprovalQuestions::wake`].
pub(crate) async fn ask_if_waiting(
    mutation: &mut Mutation,
    policy: Option<&KeyPolicy>,
    request: &RegisterRequest,
    node: &Node,
) -> Result<(), RegistryError> {
    if !is_asked_about(policy, node) {
        return Ok(());
    }
    let question = AskApprovalRequest {
        tailnet_id: node.tailnet_id,
        node_id: node.id,
        machine_key: node.machine_key.clone(),
        source_address: request.source_address.clone(),
        question_id: hex::encode(random_bytes::<16>()),
        ..AskApprovalRequest::default()
    };
    let now = mutation.now();
    approval_questions::put_question(mutation.connection(), &question, now).await?;
    Ok(())
}

/// Has questions answered. Clones share it.
#[derive(Clone, Debug)]
pub struct ApprovalQuestions {
    log: ChangeLog,
    services: AskedServices,
    nodes: Nodes,
    /// Wakes the loop that asks: a question was written.
    written: Arc<Notify>,
    look_interval: Duration,
}

/// The questions that are being asked.
#[derive(Default)]
struct AskingTasks {
    tasks: JoinSet<(TailnetNode, Result<(), RegistryError>)>,
    /// The nodes that are asked about, with their tailnets.
    busy: BTreeMap<u64, u64>,
}

impl AskingTasks {
    /// Says whether a question may be asked beside those that are.
    fn has_room(&self, of: TailnetNode) -> bool {
        let of_tailnet = self.busy.values().filter(|one| **one == of.tailnet_id);
        self.busy.len() < MOST_AT_ONCE
            && !self.busy.contains_key(&of.node_id)
            && of_tailnet.count() < MOST_OF_TAILNET
    }

    fn ask(&mut self, questions: &ApprovalQuestions, of: TailnetNode) {
        self.busy.insert(of.node_id, of.tailnet_id);
        let questions = questions.clone();
        self.tasks
            .spawn(async move { (of, questions.settle_question(of).await) });
    }

    /// Waits until a question has left its place; says whether the place is for another now.
    async fn next_end(&mut self) -> bool {
        match self.tasks.join_next().await {
            Some(ended) => self.note_end(ended),
            None => std::future::pending().await,
        }
    }

    fn note_end(
        &mut self,
        ended: Result<(TailnetNode, Result<(), RegistryError>), JoinError>,
    ) -> bool {
        match ended {
            Ok((of, settled)) => {
                self.busy.remove(&of.node_id);
                if let Err(error) = &settled {
                    let node = of.node_id;
                    tracing::warn!(node, %error, "the outside system is asked later");
                }
                // Behind one that fails others would, such as while identity is away.
                settled.is_ok()
            }
            // Which it was is not known. A question is taken once all the same.
            Err(error) => {
                tracing::error!(%error, "asking about a machine has failed");
                self.busy.clear();
                false
            }
        }
    }
}

impl ApprovalQuestions {
    pub(crate) fn new(log: ChangeLog, services: AskedServices, nodes: Nodes) -> Self {
        Self {
            log,
            services,
            nodes,
            written: Arc::default(),
            look_interval: LOOK_INTERVAL,
        }
    }

    /// Has a question asked now that was committed.
    pub(crate) fn wake(&self) {
        self.written.notify_one();
    }

    /// Asks until the process ends.
    pub(crate) async fn run(self) {
        let mut asking = AskingTasks::default();
        let mut looks = tokio::time::interval(self.look_interval);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_due = tokio::select! {
                () = self.written.notified() => true,
                has_room = asking.next_end() => has_room,
                _ = looks.tick() => true,
            };
            if !is_due {
                continue;
            }
            match self.list_due().await {
                Ok(due) => {
                    for of in due {
                        if asking.has_room(of) {
                            asking.ask(&self, of);
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "it is not known which machines to ask about");
                }
            }
        }
    }

    pub(crate) async fn list_due(&self) -> Result<Vec<TailnetNode>, RegistryError> {
        let now = self.log.database().now().await?;
        let reader = self.log.database().reader();
        let of_tailnet = i64::try_from(MOST_OF_TAILNET).unwrap_or(i64::MAX);
        Ok(approval_questions::list_due(reader, now, of_tailnet, MOST_FOUND).await?)
    }

    /// Asks about a node, and does what the answer says.
    pub(crate) async fn settle_question(&self, of: TailnetNode) -> Result<(), RegistryError> {
        let taken = self.log.database().write(move |write| {
            Box::pin(async move {
                let (now, on) = (write.now(), write.connection());
                let until = now + CLAIM;
                let taken = approval_questions::take_question(on, of.node_id, now, until).await?;
                let node = nodes::by_id(on, of.tailnet_id, of.node_id).await?;
                Ok::<_, RegistryError>(taken.map(|(question, asked)| (question, asked, node)))
            })
        });
        let Some((question, attempts, node)) = taken.await? else {
            return Ok(());
        };
        let waiting = node.filter(|node| !node.approved && !node.denied);
        let Some(node) = waiting else {
            return self.forget_question(question).await;
        };
        let answer = if attempts < MOST_ATTEMPTS {
            let asked = describe_node(question.clone(), &node);
            self.services.ask_approval(asked).await?
        } else {
            AskApprovalResponse {
                decision: ApprovalDecision::Wait.into(),
                reason: "nobody could say what the webhook answered".to_owned(),
                ..AskApprovalResponse::default()
            }
        };
        self.apply_answer(of, &node, answer).await?;
        self.forget_question(question).await
    }

    async fn forget_question(&self, question: AskApprovalRequest) -> Result<(), RegistryError> {
        let forgetting = self.log.database().write(move |write| {
            Box::pin(async move {
                let (on, id) = (write.connection(), &question.question_id);
                approval_questions::delete_question(on, question.node_id, id).await?;
                Ok::<_, RegistryError>(())
            })
        });
        forgetting.await
    }

    async fn apply_answer(
        &self,
        of: TailnetNode,
        node: &Node,
        answer: AskApprovalResponse,
    ) -> Result<(), RegistryError> {
        let tailnet = read_tailnet_id(of.tailnet_id)?;
        let target = NodeTarget {
            caller: Caller::Service(ServiceName::Identity),
            tailnet,
            node_id: of.node_id,
        };
        let detail = json!({
            "by": "webhook",
            "webhook": answer.webhook_id,
            "reason": answer.reason,
            "name": node.name,
        });
        let changed = match answer.decision() {
            ApprovalDecision::Approve => {
                let approve = |node: &mut Node, _| {
                    require_waiting(node)?;
                    admission::approve(node);
                    Ok(())
                };
                let approving =
                    self.nodes
                        .change_node(target, "node.approve", detail, approve, |_| ());
                approving.await
            }
            ApprovalDecision::Deny => {
                let deny = |node: &mut Node, now| {
                    require_waiting(node)?;
                    admission::deny(node, now)
                };
                let denying = self
                    .nodes
                    .change_node(target, "node.deny", detail, deny, |_| ());
                denying.await
            }
            ApprovalDecision::Wait | ApprovalDecision::Unspecified => {
                let id = of.node_id.to_string();
                let noting = self.log.mutate(tailnet, REGISTRY_ACTOR, move |mutation| {
                    Box::pin(async move {
                        mutation.record_audit("node.wait", id, &detail);
                        Ok::<_, RegistryError>(())
                    })
                });
                noting.await?;
                return Ok(());
            }
        };
        match changed {
            // Somebody has decided meanwhile, or deleted it.
            Ok(_) | Err(RegistryError::NotFound(_) | RegistryError::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn require_waiting(node: &Node) -> Result<(), RegistryError> {
    if node.approved || node.denied {
        let text = "the machine waits no more";
        return Err(RegistryError::Refused(text.to_owned()));
    }
    Ok(())
}

/// Completes a question with what the node is now.
fn describe_node(question: AskApprovalRequest, node: &Node) -> AskApprovalRequest {
    AskApprovalRequest {
        name: node.name.clone(),
        hostname: node.hostname.clone(),
        user_id: node.user_id,
        tags: node.tags.clone(),
        os: node.os.clone(),
        client_version: node.client_version.clone(),
        ..question
    }
}

#[cfg(test)]
mod tests;
