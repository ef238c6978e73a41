//! What an outside system is asked about a machine that waits for approval, and what its answer says.
//!
//! ```text
//! POST, signed as events are:  {"type": "nodeApproval", "tailnet": …, "data": {"nodeID": …, "deviceName": …, …}}
//! 200:                         {"decision": "approve" | "deny" | "wait", "reason": "…"}
//! ```

use bowline_keys::MachinePublic;
use bowline_proto::identity::v1::{ApprovalDecision, AskApprovalRequest};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::json;

use super::webhook::event_time;

/// The longest reason that is kept.
const LONGEST_REASON: usize = 300;

/// What an outside system has decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalAnswer {
    /// Whether the machine is let in.
    pub decision: ApprovalDecision,
    /// Why; empty where it does not say.
    pub reason: String,
}

impl ApprovalAnswer {
    /// Lets the machine wait.
    pub fn wait(reason: &str) -> Self {
        let readable = reason.chars().filter(|letter| !letter.is_control());
        Self {
            decision: ApprovalDecision::Wait,
            reason: readable.take(LONGEST_REASON).collect(),
        }
    }
}

#[derive(Deserialize)]
struct AnswerBody {
    decision: String,
    #[serde(default)]
    reason: String,
}

/// Returns the body of a question.
pub fn question_body(
    asked: &AskApprovalRequest,
    tailnet: &str,
    login_name: &str,
    now: DateTime<Utc>,
) -> String {
    let machine = MachinePublic::try_from(&*asked.machine_key);
    json!({
        "timestamp": event_time(now),
        "version": 1,
        "type": "nodeApproval",
        "tailnet": tailnet,
        "message": format!("May {} join?", asked.name),
        "data": {
            "nodeID": asked.node_id.to_string(),
            "deviceName": asked.name,
            "hostname": asked.hostname,
            "machineKey": machine.map(|key| key.to_string()).unwrap_or_default(),
            "user": login_name,
            "tags": asked.tags,
            "os": asked.os,
            "clientVersion": asked.client_version,
            "source": asked.source_address,
        },
    })
    .to_string()
}

/// Reads an answer.
///
/// # Errors
///
/// Why it is none.
pub fn read_answer(body: &[u8]) -> Result<ApprovalAnswer, String> {
    let read: AnswerBody = serde_json::from_slice(body)
        .map_err(|error| format!("the answer is not {{\"decision\": …}}: {error}"))?;
    let decision = match &*read.decision {
        "approve" => ApprovalDecision::Approve,
        "deny" => ApprovalDecision::Deny,
        "wait" => ApprovalDecision::Wait,
        other => {
            let other: String = other.escape_debug().take(40).collect();
            return Err(format!(
                "the answer's decision is \"{other}\", and none of approve, deny, wait"
            ));
        }
    };
    Ok(ApprovalAnswer {
        decision,
        ..ApprovalAnswer::wait(&read.reason)
    })
}

#[cfg(test)]
mod tests;
