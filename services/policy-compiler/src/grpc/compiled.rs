//! What other services ask of the policy in force.

use bowline_proto::{
    changes::v1::{HeadsRequest, HeadsResponse},
    policy::v1::{
        CompiledUpdate, DescribeAttributesRequest, DescribeAttributesResponse, JudgeNodeRequest,
        JudgeNodeResponse, JudgeNodesRequest, JudgeNodesResponse, WatchCompiledRequest,
        policy_compiler_service_server::PolicyCompilerService,
    },
};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::read_tailnet_id;
use crate::{PolicyCompiler, error::CompilerError, workspace::CompiledWatch};

#[tonic::async_trait]
impl PolicyCompilerService for PolicyCompiler {
    type WatchCompiledStream = BoxStream<'static, Result<CompiledUpdate, Status>>;

    async fn judge_node(
        &self,
        request: Request<JudgeNodeRequest>,
    ) -> Result<Response<JudgeNodeResponse>, Status> {
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let judgements = self.judge_nodes_of(tailnet, vec![request]).await?;
        let judgement = judgements.into_iter().next().unwrap_or_default();
        Ok(Response::new(judgement))
    }

    async fn judge_nodes(
        &self,
        request: Request<JudgeNodesRequest>,
    ) -> Result<Response<JudgeNodesResponse>, Status> {
        let JudgeNodesRequest { tailnet_id, nodes } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        let judgements = self.judge_nodes_of(tailnet, nodes).await?;
        Ok(Response::new(JudgeNodesResponse { judgements }))
    }

    async fn describe_attributes(
        &self,
        request: Request<DescribeAttributesRequest>,
    ) -> Result<Response<DescribeAttributesResponse>, Status> {
        let DescribeAttributesRequest { tailnet_id, names } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        let attributes = self.describe_attributes_of(tailnet, names).await?;
        Ok(Response::new(DescribeAttributesResponse { attributes }))
    }

    async fn watch_compiled(
        &self,
        request: Request<WatchCompiledRequest>,
    ) -> Result<Response<Self::WatchCompiledStream>, Status> {
        let workspace = self.get_workspace(read_tailnet_id(request.into_inner().tailnet_id)?);
        // Headers go out at once, the first message when users, nodes and policy have arrived. The error at the end makes
        // the gateway ask again.
        let ended = || Status::unavailable("the tailnet is compiled anew: ask again");
        let updates = stream::once(workspace.watch()).flat_map(move |watch| {
            let next = async |watch: Option<CompiledWatch>| {
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
        let asked = request
            .into_inner()
            .tailnet_ids
            .into_iter()
            .map(read_tailnet_id);
        let asked = asked.collect::<Result<Vec<_>, _>>()?;
        let heads = self.log.answer_heads(&asked).await;
        Ok(Response::new(heads.map_err(CompilerError::from)?))
    }
}
