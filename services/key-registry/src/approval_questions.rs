//! Lets an outside system decide on machines that wait for approval, where the key policy names one.
//!
//! ```text
//! registration: the node waits, and a question is written with it, one commit
//! this: takes a question ─▶ identity asks the outside system ─▶ approved, denied, or left to an administrator; audited
//! ```
//!
//! A registration waits for none of this. What a crash interrupts is asked again; identity can be away for a while.

use std::{collections::BTreeMap, time::Duration};

use bowline_clock::random_bytes;
use bowline_db::{ChangeLog, Mutation};
use bowline_proto::{
    identity::v1::{ApprovalDecision, AskApprovalRequest, AskApprovalResponse, KeyPolicy},
    key_registry::v1::{Node, RegisterRequest},
};
use bowline_service_kit::{Caller, ServiceName};
use chrono::TimeDelta;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    actors::REGISTRY_ACTOR,
    asked_services::AskedServices,
    domain::admission,
    error::RegistryError,
    fields::read_tailnet_id,
    nodes::{NodeTarget, Nodes},
    store::{TailnetNode, approval_questions, nodes},
};

/// How often it is looked for questions.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How many a replica asks at once, and how many of one tailnet.
const MOST_AT_ONCE: usize = 64;
const MOST_OF_TAILNET: usize = 4;
/// How many one look finds.
const MOST_FOUND: i64 = 512;
/// How long a question is a replica's without a word: longer than an answer may take.
const CLAIM: TimeDelta = TimeDelta::seconds(45);
/// How often it is asked where nobody says what became of it.
const MOST_ATTEMPTS: i64 = 20;

/// Writes the question about a node that waits, if the key policy names somebody to ask.
pub(crate) async fn ask_if_waiting(
    mutation: &mut Mutation,
    policy: Option<&KeyPolicy>,
    request: &RegisterRequest,
    node: &Node,
) -> Result<(), RegistryError> {
    let is_asked = policy.is_some_and(|policy| policy.approval_webhook.is_some());
    if !is_asked || node.approved || node.denied {
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
}

/// Says whether a question may be asked beside those that are.
fn has_room(busy: &BTreeMap<u64, u64>, of: TailnetNode) -> bool {
    let of_tailnet = busy.values().filter(|one| **one == of.tailnet_id);
    busy.len() < MOST_AT_ONCE
        && !busy.contains_key(&of.node_id)
        && of_tailnet.count() < MOST_OF_TAILNET
}

impl ApprovalQuestions {
    pub(crate) fn new(log: ChangeLog, services: AskedServices, nodes: Nodes) -> Self {
        Self {
            log,
            services,
            nodes,
        }
    }

    /// Asks until the process ends.
    pub(crate) async fn run(self) {
        // The nodes that are asked about, with their tailnets.
        let (mut asking, mut busy) = (JoinSet::new(), BTreeMap::<u64, u64>::new());
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            while let Some(done) = asking.try_join_next() {
                match done {
                    Ok(node) => drop(busy.remove(&node)),
                    // Which it was is not known. A question is taken once all the same.
                    Err(error) => {
                        tracing::error!(%error, "asking about a machine has failed");
                        busy.clear();
                    }
                }
            }
            let due = match self.list_due().await {
                Ok(due) => due,
                Err(error) => {
                    tracing::warn!(%error, "it is not known which machines to ask about");
                    continue;
                }
            };
            for of in due {
                if has_room(&busy, of) {
                    busy.insert(of.node_id, of.tailnet_id);
                    let questions = self.clone();
                    asking.spawn(async move {
                        if let Err(error) = questions.settle_question(of).await {
                            let node = of.node_id;
                            tracing::warn!(node, %error, "the outside system is asked later");
                        }
                        of.node_id
                    });
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
