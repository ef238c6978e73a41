//! Policy documents, for administrators.

use std::sync::Arc;

use bowline_ids::TailnetId;
use bowline_policy::{Compiler, Inventory, Problem, Verdict, check_document};
use bowline_proto::{
    policy::v1::{
        CheckPolicyRequest, CheckPolicyResponse, ExplainAccessRequest, ExplainAccessResponse,
        GetPolicyRequest, GetPolicyResponse, ListPolicyVersionsRequest, ListPolicyVersionsResponse,
        PairChange, PolicyChange, PolicyProblem, PolicyVersion, PreviewPolicyRequest,
        PreviewPolicyResponse, RuleUse, SetPolicyRequest, SetPolicyResponse,
        policy_service_server::PolicyService,
    },
    time::to_timestamp,
};
use bowline_service_kit::Caller;
use serde_json::json;
use tonic::{Request, Response, Status};

use super::tailnet_id;
use crate::{PolicyCompiler, error::CompilerError, store};

/// Judges a document for a tailnet, beside the version in force.
async fn checked(
    compiler: &PolicyCompiler,
    tailnet: TailnetId,
    text: String,
) -> Result<Verdict, CompilerError> {
    let check = move |compiler: &Compiler, _| verdict(&text, compiler);
    compiler.workspace(tailnet).ask(0, check).await
}

fn verdict(text: &str, compiler: &Compiler) -> Verdict {
    let inventory = Inventory {
        users: compiler.users(),
        nodes: compiler.nodes(),
        in_force: Some(compiler.policy()),
    };
    check_document(text, Some(inventory))
}

fn listed(problems: Vec<Problem>) -> Vec<PolicyProblem> {
    let one = |problem: Problem| {
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
    };
    problems.into_iter().map(one).collect()
}

fn pair(((source, destination), change): ((u64, u64), bowline_policy::PairChange)) -> PairChange {
    PairChange {
        source_node_id: source,
        destination_node_id: destination,
        gained: change.gained.into_iter().collect(),
        lost: change.lost.into_iter().collect(),
    }
}

fn rule_use(used: bowline_policy::RuleUse) -> RuleUse {
    RuleUse {
        line: used.line,
        rule: used.rule,
        allows: used.allows,
        through_routes: used.through_routes,
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
            strict,
        } = request.into_inner();
        let tailnet = tailnet_id(tailnet)?;
        let mut verdict = checked(self, tailnet, text.clone()).await?;
        if strict {
            verdict = verdict.strict();
        }
        let warnings = listed(verdict.warnings);
        let Some(policy) = verdict.policy.map(Arc::new) else {
            return Ok(Response::new(SetPolicyResponse {
                version: None,
                problems: listed(verdict.problems),
                warnings,
            }));
        };
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
                        created_at: Some(to_timestamp(now)),
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
        self.keep(tailnet, version.version, &policy, version.text.len());
        // Those who follow it on this replica need not wait for the hint.
        if let Err(error) = self.refresh(tailnet).await {
            tracing::debug!(%error, "the stored policy can not be read back yet");
        }
        // Whoever sent the text has it.
        let version = PolicyVersion {
            text: String::new(),
            ..version
        };
        Ok(Response::new(SetPolicyResponse {
            version: Some(version),
            problems: Vec::new(),
            warnings,
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
        let request = request.into_inner();
        let tailnet = tailnet_id(request.tailnet_id)?;
        let verdict = checked(self, tailnet, request.text).await?;
        Ok(Response::new(CheckPolicyResponse {
            problems: listed(verdict.problems),
            warnings: listed(verdict.warnings),
        }))
    }

    async fn preview_policy(
        &self,
        request: Request<PreviewPolicyRequest>,
    ) -> Result<Response<PreviewPolicyResponse>, Status> {
        let PreviewPolicyRequest {
            tailnet_id: tailnet,
            text,
        } = request.into_inner();
        let tailnet = tailnet_id(tailnet)?;
        let workspace = self.workspace(tailnet);
        let version = self.refresh(tailnet).await?;
        let preview = workspace.ask(version, move |compiler, _| {
            let mut verdict = verdict(&text, compiler);
            let policy = verdict.policy.take();
            let preview = policy.map(|policy| compiler.preview(&policy));
            (verdict, preview.unwrap_or_default())
        });
        let (verdict, preview) = preview.await?;
        Ok(Response::new(PreviewPolicyResponse {
            problems: listed(verdict.problems),
            pairs: preview.pairs.into_iter().map(pair).collect(),
            total_pairs: preview.total,
            warnings: listed(verdict.warnings),
        }))
    }

    async fn explain_access(
        &self,
        request: Request<ExplainAccessRequest>,
    ) -> Result<Response<ExplainAccessResponse>, Status> {
        let request = request.into_inner();
        let tailnet = tailnet_id(request.tailnet_id)?;
        let workspace = self.workspace(tailnet);
        let version = self.refresh(tailnet).await?;
        let (source, destination) = (request.source_node_id, request.destination_node_id);
        let explanation = workspace.ask(version, move |compiler, version| {
            (compiler.explain(source, destination), version)
        });
        let (found, version) = explanation.await?;
        let found = found.ok_or(CompilerError::NotFound("node"))?;
        let uses = |uses: Vec<bowline_policy::RuleUse>| uses.into_iter().map(rule_use).collect();
        Ok(Response::new(ExplainAccessResponse {
            policy_version: version,
            allowed_by: uses(found.allowed_by),
            only_source: uses(found.only_source),
            only_destination: uses(found.only_destination),
            posture_missing: uses(found.posture_missing),
        }))
    }

    async fn list_policy_versions(
        &self,
        request: Request<ListPolicyVersionsRequest>,
    ) -> Result<Response<ListPolicyVersionsResponse>, Status> {
        let request = request.into_inner();
        let tailnet = tailnet_id(request.tailnet_id)?.get();
        let versions = store::versions(self.log.database().reader(), tailnet, request.before)
            .await
            .map_err(CompilerError::from)?;
        Ok(Response::new(ListPolicyVersionsResponse { versions }))
    }
}
