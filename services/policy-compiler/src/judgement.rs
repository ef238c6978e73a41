//! What the policy says to the registry: of one node that registers or reports (tags, routes, address pools), and of custom
//! attributes.

use std::{collections::BTreeSet, sync::Arc};

use bowline_ids::TailnetId;
use bowline_policy::{
    Applicant, AttributeKind, ConfiguredAttribute, Policy, PolicyUser, address_pools,
    approved_routes, refused_tags, undefined_tags,
};
use bowline_proto::policy::v1::{
    AttributeConfig, AttributeType, JudgeNodeRequest, JudgeNodeResponse,
};
use ipnet::IpNet;

use crate::{PolicyCompiler, error::CompilerError, inventory, store};

/// How many nodes one call is about.
const MOST_NODES: usize = 100;

impl PolicyCompiler {
    /// Answers the registry's questions about nodes, by the newest version of the policy.
    pub(crate) async fn judge_nodes_of(
        &self,
        tailnet: TailnetId,
        nodes: Vec<JudgeNodeRequest>,
    ) -> Result<Vec<JudgeNodeResponse>, CompilerError> {
        if nodes.len() > MOST_NODES {
            return Err(CompilerError::Invalid {
                field: "nodes",
                problem: "are 100 at most".to_owned(),
            });
        }
        let policy = self.load_newest_policy(tailnet).await?;
        let judgements = nodes.into_iter().map(|node| judge_node(&policy, node));
        Ok(judgements.collect())
    }

    /// Says what the newest version of the policy says of custom attributes.
    pub(crate) async fn describe_attributes_of(
        &self,
        tailnet: TailnetId,
        names: Vec<String>,
    ) -> Result<Vec<AttributeConfig>, CompilerError> {
        let policy = self.load_newest_policy(tailnet).await?;
        let names: BTreeSet<_> = names.into_iter().collect();
        let described = names.into_iter().filter_map(|name| {
            let configured = policy.configured_attribute(&name)?;
            Some(describe_attribute(name, configured))
        });
        Ok(described.collect())
    }

    async fn load_newest_policy(&self, tailnet: TailnetId) -> Result<Arc<Policy>, CompilerError> {
        let reader = self.log.database().reader();
        let newest = store::newest_version(reader, tailnet.get()).await?;
        self.load_policy(tailnet, newest).await
    }
}

fn describe_attribute(name: String, configured: ConfiguredAttribute) -> AttributeConfig {
    let kind = match configured.kind {
        None => AttributeType::Unspecified,
        Some(AttributeKind::Text) => AttributeType::String,
        Some(AttributeKind::Number) => AttributeType::Number,
        Some(AttributeKind::Bool) => AttributeType::Bool,
    };
    AttributeConfig {
        name,
        r#type: kind.into(),
        allow_set_by_node: configured.is_set_by_node,
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
