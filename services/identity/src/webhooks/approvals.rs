//! Asks the outside system of a tailnet whether to let in a machine that waits.
//!
//! Whatever goes wrong is an answer: the machine waits for an administrator. The key registry keeps the question, and asks
//! again where it got none.

use std::{sync::Arc, time::Duration};

use bowline_db::ChangeLog;
use bowline_http_client::HttpClient;
use bowline_proto::identity::v1::{AskApprovalRequest, AskApprovalResponse};
use bowline_sealing::SealingKeys;
use bowline_service_kit::error_text;
use bytes::Bytes;
use http::{Request, header};

use super::sender::{EVENT_ID, SIGNATURE, open_secrets};
use crate::{
    domain::{
        approval_question::{ApprovalAnswer, question_body, read_answer},
        webhook::sign_body,
    },
    error::IdentityError,
    store::{self, webhooks},
};

/// Asks. Clones share it.
#[derive(Clone)]
pub struct ApprovalAsker {
    log: ChangeLog,
    sealing: Option<Arc<SealingKeys>>,
    client: HttpClient,
}

impl ApprovalAsker {
    pub(crate) fn new(
        log: ChangeLog,
        sealing: Option<Arc<SealingKeys>>,
        client: HttpClient,
    ) -> Self {
        Self {
            log,
            sealing,
            client,
        }
    }

    /// Asks about a machine.
    pub(crate) async fn ask_approval(
        &self,
        asked: AskApprovalRequest,
    ) -> Result<AskApprovalResponse, IdentityError> {
        let reader = self.log.database().reader();
        let found = store::find_tailnet(reader, asked.tailnet_id).await?;
        let tailnet = found.ok_or(IdentityError::NotFound("tailnet"))?;
        let policy = tailnet.key_policy.as_ref();
        let Some(rule) = policy.and_then(|policy| policy.approval_webhook) else {
            let gone = ApprovalAnswer::wait("the key policy names no webhook any more");
            return Ok(response(0, gone));
        };
        let answer = match self.post_question(&tailnet.name, rule, &asked).await? {
            Ok(answer) => answer,
            Err(problem) => ApprovalAnswer::wait(&problem),
        };
        Ok(response(rule.webhook_id, answer))
    }

    /// The inner error is what is wrong with the outside system.
    async fn post_question(
        &self,
        tailnet: &str,
        rule: bowline_proto::identity::v1::ApprovalWebhook,
        asked: &AskApprovalRequest,
    ) -> Result<Result<ApprovalAnswer, String>, IdentityError> {
        let database = self.log.database();
        let (reader, id) = (database.reader(), rule.webhook_id);
        let found = webhooks::find_webhook(reader, asked.tailnet_id, id).await?;
        let Some((row, sealing)) = found.zip(self.sealing.as_ref()) else {
            return Ok(Err(format!("there is no webhook {id} any more")));
        };
        let now = database.now().await?;
        let secrets = match open_secrets(sealing, &row, now) {
            Ok(secrets) => secrets,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let secrets: Vec<&str> = secrets.iter().map(|secret| &***secret).collect();
        let user = store::find_user(reader, asked.tailnet_id, asked.user_id).await?;
        let login_name = user.map(|user| user.login_name).unwrap_or_default();
        let body = question_body(asked, tailnet, &login_name, now);
        let request = Request::post(&row.webhook.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(SIGNATURE, sign_body(&secrets, &body, now))
            .header(EVENT_ID, &asked.question_id)
            .body(Bytes::from(body));
        let request = match request {
            Ok(request) => request,
            Err(error) => return Ok(Err(error_text(&error))),
        };
        let seconds = rule.deadline.map_or(0, |deadline| deadline.seconds);
        let deadline = Duration::from_secs(seconds.max(0).cast_unsigned());
        let answer = match self.client.with_deadline(deadline).send(request).await {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error_text(&error))),
        };
        let status = answer.status();
        if !status.is_success() {
            return Ok(Err(format!("the answer is {status}")));
        }
        Ok(read_answer(answer.body()))
    }
}

fn response(webhook_id: u64, answer: ApprovalAnswer) -> AskApprovalResponse {
    AskApprovalResponse {
        decision: answer.decision.into(),
        reason: answer.reason,
        webhook_id,
    }
}
