//! What the policy says of one node that registers or reports: tags, routes, address pools.

use bowline_ids::TailnetId;
use bowline_policy::{
    Applicant, Policy, PolicyUser, address_pools, approved_routes, refused_tags, undefined_tags,
};
use bowline_proto::policy::v1::{JudgeNodeRequest, JudgeNodeResponse};
use ipnet::IpNet;

use crate::{PolicyCompiler, error::CompilerError, inventory, store};

impl PolicyCompiler {
    /// Answers the registry's question about a node, by the newest version of the policy.
    pub(crate) async fn judge_node_of(
        &self,
        tailnet: TailnetId,
        request: JudgeNodeRequest,
    ) -> Result<JudgeNodeResponse, CompilerError> {
        let reader = self.log.database().reader();
        let newest = store::newest_version(reader, tailnet.get()).await?;
        let policy = self.load_policy(tailnet, newest).await?;
        Ok(judge_node(&policy, request))
    }
}

fn judge_node(policy: &Policy, request: JudgeNodeRequest) -> JudgeNodeResponse {
    let role = inventory::convert_role(request.role());
    let login = &request.login_name;
    let user =
        (!login.is_empty()).then(|| PolicyUser::new(request.user_id, login, role, &request.groups));
    let mut applicant = Applicant {
        user,
        tags: request.current_tags,
        administrator: request.administrator,
    };
    let named_tags = applicant.tags.iter().chain(&request.requested_tags);
    let undefined_tags = undefined_tags(policy, named_tags);
    let refused_tags = refused_tags(policy, &applicant, &request.requested_tags);
    if refused_tags.is_empty() && !request.requested_tags.is_empty() {
        // Routes and addresses depend on the tags that the node will have.
        applicant.tags = request.requested_tags;
    }
    let advertised: Vec<IpNet> = request
        .advertised_routes
        .iter()
        .filter_map(|route| route.parse().ok())
        .collect();
    let texts = |prefixes: Vec<IpNet>| prefixes.iter().map(IpNet::to_string).collect();
    JudgeNodeResponse {
        refused_tags,
        undefined_tags,
        approved_routes: texts(approved_routes(policy, &applicant, &advertised)),
        ipv4_pools: texts(address_pools(policy, &applicant)),
    }
}
