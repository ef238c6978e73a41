//! Policy documents, for administrators.

use bowline_policy::{Policy, Problem};
use bowline_proto::policy::v1::{
    CheckPolicyRequest, CheckPolicyResponse, GetPolicyRequest, GetPolicyResponse,
    ListPolicyVersionsRequest, ListPolicyVersionsResponse, PolicyChange, PolicyProblem,
    PolicyVersion, SetPolicyRequest, SetPolicyResponse, policy_service_server::PolicyService,
};
use bowline_service_kit::Caller;
use prost_types::Timestamp;
use serde_json::json;
use tonic::{Request, Response, Status};

use super::tailnet_id;
use crate::{PolicyCompiler, error::CompilerError, store};

/// Returns what is wrong with a document; read on a thread of its own, since it may be long.
async fn problems(text: String) -> Result<Vec<PolicyProblem>, Status> {
    let parsed = tokio::task::spawn_blocking(move || {
        Policy::parse(&text, &std::collections::BTreeSet::new()).err()
    });
    let found = parsed
        .await
        .map_err(|_| Status::internal("the document could not be read"))?;
    Ok(found.unwrap_or_default().into_iter().map(problem).collect())
}

fn problem(problem: Problem) -> PolicyProblem {
    let Problem {
        line,
        column,
        message,
        hint,
    } = problem;
    PolicyProblem {
        line,
        column,
        message,
        hint,
    }
}

#[tonic::async_trait]
impl PolicyService for PolicyCompiler {
    async fn set_policy(
        &self,
        request: Request<SetPolicyRequest>,
    ) -> Result<Response<SetPolicyResponse>, Status> {
        let author = Caller::of(&request)?.to_string();
        let SetPolicyRequest {
            tailnet_id: tailnet,
            text,
            expected_version,
        } = request.into_inner();
        let tailnet = tailnet_id(tailnet)?;
        let problems = problems(text.clone()).await?;
        if !problems.is_empty() {
            return Ok(Response::new(SetPolicyResponse {
                version: None,
                problems,
            }));
        }
        let (version, _) = self
            .log
            .mutate(tailnet, author.clone(), move |mutation| {
                Box::pin(async move {
                    let found = store::head(mutation.connection(), tailnet.get()).await?;
                    if let Some(expected) = expected_version
                        && expected != found
                    {
                        return Err(CompilerError::LostRace { expected, found });
                    }
                    let now = mutation.now();
                    let stored = PolicyVersion {
                        tailnet_id: tailnet.get(),
                        version: found + 1,
                        text,
                        author,
                        created_at: Some(Timestamp {
                            seconds: now.timestamp(),
                            nanos: 0,
                        }),
                    };
                    store::put(mutation.connection(), &stored, now).await?;
                    mutation.record(&PolicyChange {
                        version: Some(stored.clone()),
                    });
                    mutation.audit("policy.set", stored.version.to_string(), &json!({}));
                    Ok(stored)
                })
            })
            .await?;
        // Those who follow it on this replica need not wait for the hint.
        if let Err(error) = self.refresh(tailnet).await {
            tracing::debug!(%error, "the stored policy can not be read back yet");
        }
        Ok(Response::new(SetPolicyResponse {
            version: Some(version),
            problems: Vec::new(),
        }))
    }

    async fn get_policy(
        &self,
        request: Request<GetPolicyRequest>,
    ) -> Result<Response<GetPolicyResponse>, Status> {
        let GetPolicyRequest {
            tailnet_id: tailnet,
            version,
        } = request.into_inner();
        let tailnet = tailnet_id(tailnet)?.get();
        let reader = self.log.database().reader();
        let head = store::head(reader, tailnet)
            .await
            .map_err(CompilerError::from)?;
        let wanted = if version == 0 { head } else { version };
        if wanted == 0 {
            let default = PolicyVersion {
                tailnet_id: tailnet,
                ..PolicyVersion::default()
            };
            return Ok(Response::new(GetPolicyResponse {
                version: Some(default),
            }));
        }
        let found = store::by_version(reader, tailnet, wanted)
            .await
            .map_err(CompilerError::from)?;
        let version = Some(found.ok_or(CompilerError::NotFound("policy version"))?);
        Ok(Response::new(GetPolicyResponse { version }))
    }

    async fn check_policy(
        &self,
        request: Request<CheckPolicyRequest>,
    ) -> Result<Response<CheckPolicyResponse>, Status> {
        let problems = problems(request.into_inner().text).await?;
        Ok(Response::new(CheckPolicyResponse { problems }))
    }

    async fn list_policy_versions(
        &self,
        request: Request<ListPolicyVersionsRequest>,
    ) -> Result<Response<ListPolicyVersionsResponse>, Status> {
        let tailnet = tailnet_id(request.into_inner().tailnet_id)?.get();
        let versions = store::versions(self.log.database().reader(), tailnet)
            .await
            .map_err(CompilerError::from)?;
        Ok(Response::new(ListPolicyVersionsResponse { versions }))
    }
}
