//! Policy documents, for administrators.

use bowline_policy::Problem;
use bowline_proto::policy::v1::{
    CheckPolicyRequest, CheckPolicyResponse, ExplainAccessRequest, ExplainAccessResponse,
    GetPolicyRequest, GetPolicyResponse, ListPolicyVersionsRequest, ListPolicyVersionsResponse,
    PairChange, PolicyProblem, PreviewPolicyRequest, PreviewPolicyResponse, RuleUse,
    SetPolicyRequest, SetPolicyResponse, policy_service_server::PolicyService,
};
use bowline_service_kit::Caller;
use tonic::{Request, Response, Status};

use super::read_tailnet_id;
use crate::{PolicyCompiler, documents::NewDocument};

#[tonic::async_trait]
impl PolicyService for PolicyCompiler {
    async fn set_policy(
        &self,
        request: Request<SetPolicyRequest>,
    ) -> Result<Response<SetPolicyResponse>, Status> {
        let author = Caller::of(&request)?.to_string();
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let document = NewDocument {
            text: request.text,
            author,
            expected_version: request.expected_version,
            is_strict: request.strict,
        };
        Ok(Response::new(self.set_document(tailnet, document).await?))
    }

    async fn get_policy(
        &self,
        request: Request<GetPolicyRequest>,
    ) -> Result<Response<GetPolicyResponse>, Status> {
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let version = self.find_document(tailnet, request.version).await?;
        Ok(Response::new(GetPolicyResponse {
            version: Some(version),
        }))
    }

    async fn check_policy(
        &self,
        request: Request<CheckPolicyRequest>,
    ) -> Result<Response<CheckPolicyResponse>, Status> {
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let verdict = self.judge_document(tailnet, request.text).await?;
        Ok(Response::new(CheckPolicyResponse {
            problems: convert_problems(verdict.problems),
            warnings: convert_problems(verdict.warnings),
        }))
    }

    async fn preview_policy(
        &self,
        request: Request<PreviewPolicyRequest>,
    ) -> Result<Response<PreviewPolicyResponse>, Status> {
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let (verdict, preview) = self.preview_document(tailnet, request.text).await?;
        let convert_pair =
            |((source, destination), change): (_, bowline_policy::PairChange)| PairChange {
                source_node_id: source,
                destination_node_id: destination,
                gained: change.gained.into_iter().collect(),
                lost: change.lost.into_iter().collect(),
            };
        let pairs = preview.pairs.into_iter();
        Ok(Response::new(PreviewPolicyResponse {
            problems: convert_problems(verdict.problems),
            pairs: pairs.map(convert_pair).collect(),
            total_pairs: preview.total,
            warnings: convert_problems(verdict.warnings),
        }))
    }

    async fn explain_access(
        &self,
        request: Request<ExplainAccessRequest>,
    ) -> Result<Response<ExplainAccessResponse>, Status> {
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let (source, destination) = (request.source_node_id, request.destination_node_id);
        let explanation = self.explain_pair(tailnet, source, destination);
        let (found, policy_version) = explanation.await?;
        Ok(Response::new(ExplainAccessResponse {
            policy_version,
            allowed_by: convert_rule_uses(found.allowed_by),
            only_source: convert_rule_uses(found.only_source),
            only_destination: convert_rule_uses(found.only_destination),
            posture_missing: convert_rule_uses(found.posture_missing),
        }))
    }

    async fn list_policy_versions(
        &self,
        request: Request<ListPolicyVersionsRequest>,
    ) -> Result<Response<ListPolicyVersionsResponse>, Status> {
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let versions = self.list_documents(tailnet, request.before).await?;
        Ok(Response::new(ListPolicyVersionsResponse { versions }))
    }
}

pub(crate) fn convert_problems(problems: Vec<Problem>) -> Vec<PolicyProblem> {
    let convert = |problem: Problem| {
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
    problems.into_iter().map(convert).collect()
}

fn convert_rule_uses(uses: Vec<bowline_policy::RuleUse>) -> Vec<RuleUse> {
    let convert = |used: bowline_policy::RuleUse| RuleUse {
        line: used.line,
        rule: used.rule,
        allows: used.allows,
        through_routes: used.through_routes,
    };
    uses.into_iter().map(convert).collect()
}
