//! What the policy says of a device whose person is known, before it is let in.

use bowline_proto::{
    identity::v1::{LoginAttempt, LoginAttemptState},
    policy::v1::{JudgeNodeRequest, policy_compiler_service_client::PolicyCompilerServiceClient},
};

use crate::start::Portal;

/// What becomes of the tags that a device asks for and of the routes that it offers.
#[derive(Debug, Default)]
pub(crate) struct DeviceJudgement {
    /// The tags that the person may not give: with them the device is not let in.
    pub(crate) refused_tags: Vec<String>,
    /// The routes that wait for an administrator.
    pub(crate) waiting_routes: Vec<String>,
}

/// Asks what the policy says of the device of an attempt. The registry asks again when the device is let in: while the policy
/// compiler can not answer, the page says nothing of it.
pub(crate) async fn judge_device(portal: &Portal, attempt: &LoginAttempt) -> DeviceJudgement {
    let device = attempt
        .login
        .as_ref()
        .and_then(|login| login.device.as_ref());
    let (LoginAttemptState::Identified, Some(device), Some(user)) =
        (attempt.state(), device, &attempt.user)
    else {
        return DeviceJudgement::default();
    };
    if device.requested_tags.is_empty() && device.advertised_routes.is_empty() {
        return DeviceJudgement::default();
    }
    let question = JudgeNodeRequest {
        tailnet_id: user.tailnet_id,
        // Tags are the same in any case.
        requested_tags: device
            .requested_tags
            .iter()
            .map(|tag| tag.to_lowercase())
            .collect(),
        advertised_routes: device.advertised_routes.clone(),
        ..JudgeNodeRequest::default()
    };
    let mut client = PolicyCompilerServiceClient::new(portal.compiler.clone());
    match client.judge_node(question.for_user(user.clone())).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            let mut waiting_routes = device.advertised_routes.clone();
            waiting_routes.retain(|route| !answer.approved_routes.contains(route));
            DeviceJudgement {
                refused_tags: answer.refused_tags,
                waiting_routes,
            }
        }
        Err(status) => {
            tracing::debug!(%status, "the policy of a device is not known");
            DeviceJudgement::default()
        }
    }
}
