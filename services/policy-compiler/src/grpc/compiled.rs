//! What other services ask of the policy in force.

use bowline_policy::{
    Applicant, User, address_pools, approved_routes, refused_tags, undefined_tags,
};
use bowline_proto::{
    changes::v1::{Head, HeadsRequest, HeadsResponse},
    policy::v1::{
        CompiledUpdate, JudgeNodeRequest, JudgeNodeResponse, WatchCompiledRequest,
        policy_compiler_service_server::PolicyCompilerService,
    },
};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use ipnet::IpNet;
use tonic::{Request, Response, Status};

use super::tailnet_id;
use crate::{PolicyCompiler, error::CompilerError, inventory, store, workspace::Watch};

#[tonic::async_trait]
impl PolicyCompilerService for PolicyCompiler {
    type WatchCompiledStream = BoxStream<'static, Result<CompiledUpdate, Status>>;

    async fn judge_node(
        &self,
        request: Request<JudgeNodeRequest>,
    ) -> Result<Response<JudgeNodeResponse>, Status> {
        let request = request.into_inner();
        let tailnet = tailnet_id(request.tailnet_id)?;
        let head = store::head(self.log.database().reader(), tailnet.get()).await;
        let policy = self
            .policy(tailnet, head.map_err(CompilerError::from)?)
            .await?;
        let role = inventory::role(request.role());
        let login = &request.login_name;
        let user =
            (!login.is_empty()).then(|| User::new(request.user_id, login, role, &request.groups));
        let mut applicant = Applicant {
            user,
            tags: request.current_tags,
            administrator: request.administrator,
        };
        let named_tags = applicant.tags.iter().chain(&request.requested_tags);
        let undefined_tags = undefined_tags(&policy, named_tags);
        let refused_tags = refused_tags(&policy, &applicant, &request.requested_tags);
        if refused_tags.is_empty() && !request.requested_tags.is_empty() {
            // Routes and addresses are for what the node will be.
            applicant.tags = request.requested_tags;
        }
        let advertised: Vec<IpNet> = request
            .advertised_routes
            .iter()
            .filter_map(|route| route.parse().ok())
            .collect();
        let texts = |prefixes: Vec<IpNet>| prefixes.iter().map(IpNet::to_string).collect();
        Ok(Response::new(JudgeNodeResponse {
            refused_tags,
            undefined_tags,
            approved_routes: texts(approved_routes(&policy, &applicant, &advertised)),
            ipv4_pools: texts(address_pools(&policy, &applicant)),
        }))
    }

    async fn watch_compiled(
        &self,
        request: Request<WatchCompiledRequest>,
    ) -> Result<Response<Self::WatchCompiledStream>, Status> {
        let workspace = self.workspace(tailnet_id(request.into_inner().tailnet_id)?);
        // Headers go out at once; the first message when everything was heard. Whoever is told of the end asks again.
        let ended = || Status::unavailable("the tailnet is compiled anew: ask again");
        let updates = stream::once(workspace.watch()).flat_map(move |watch| {
            let next = async |watch: Option<Watch>| {
                let mut watch = watch?;
                let messages = watch.next().await?;
                Some((messages, Some(watch)))
            };
            let messages = stream::unfold(watch, next).flat_map(stream::iter).map(Ok);
            messages.chain(stream::once(async move { Err(ended()) }))
        });
        Ok(Response::new(updates.boxed()))
    }

    async fn heads(
        &self,
        request: Request<HeadsRequest>,
    ) -> Result<Response<HeadsResponse>, Status> {
        let asked = request.into_inner().tailnet_ids.into_iter().map(tailnet_id);
        let asked = asked.collect::<Result<Vec<_>, _>>()?;
        let heads = self.log.heads(&asked).await.map_err(CompilerError::from)?;
        let head = |head: bowline_db::Head| Head {
            tailnet_id: head.tailnet.get(),
            revision: head.revision.get(),
            soft_revision: 0,
        };
        Ok(Response::new(HeadsResponse {
            heads: heads.into_iter().map(head).collect(),
        }))
    }
}
