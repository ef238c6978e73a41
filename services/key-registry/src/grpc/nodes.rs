//! Nodes, for administrators.

use std::collections::BTreeMap;

use bowline_proto::key_registry::v1::{
    ApproveNodeRequest, ApproveNodeResponse, AwaitGatewaysRequest, AwaitGatewaysResponse,
    DeleteNodeRequest, DeleteNodeResponse, DenyNodeRequest, DenyNodeResponse, DisableNodeRequest,
    DisableNodeResponse, EnableNodeRequest, EnableNodeResponse, ExpireNodeRequest,
    ExpireNodeResponse, ExpireNodesOfPreAuthKeyRequest, ExpireNodesOfPreAuthKeyResponse,
    GetNodeRequest, GetNodeResponse, ImportNodesRequest, ImportNodesResponse, ListGatewaysRequest,
    ListGatewaysResponse, ListNodeAttributesRequest, ListNodeAttributesResponse, ListNodesRequest,
    ListNodesResponse, RenameNodeRequest, RenameNodeResponse, SetApprovedRoutesRequest,
    SetApprovedRoutesResponse, SetNodeAttributesRequest, SetNodeAttributesResponse,
    SetNodeExpiryRequest, SetNodeExpiryResponse, SetTagsRequest, SetTagsResponse,
    node_service_server::NodeService,
};
use bowline_service_kit::Caller;
use tonic::{Request, Response, Status};

use crate::{
    error::RegistryError,
    fields::{self, read_tailnet_id},
    gateway_listing::describe_fleet,
    listing::NodeFilter,
    nodes::{NodeTarget, Nodes},
    store::gateways::OwnerLog,
};

/// The most nodes whose attributes one call changes.
const MOST_UPDATES: usize = 100;

/// Reads which node of which tailnet is meant.
fn read_target<T>(
    request: &Request<T>,
    tailnet_id: impl Fn(&T) -> u64,
    node_id: impl Fn(&T) -> u64,
) -> Result<NodeTarget, Status> {
    Ok(NodeTarget {
        caller: Caller::of(request)?.clone(),
        tailnet: read_tailnet_id(tailnet_id(request.get_ref()))?,
        node_id: node_id(request.get_ref()),
    })
}

#[tonic::async_trait]
impl NodeService for Nodes {
    async fn list_nodes(
        &self,
        request: Request<ListNodesRequest>,
    ) -> Result<Response<ListNodesResponse>, Status> {
        let caller = Caller::of(&request)?;
        let tailnet = read_tailnet_id(request.get_ref().tailnet_id)?;
        let asked = request.get_ref();
        let filter = NodeFilter {
            user: Some(asked.user_id).filter(|user| *user != 0),
            awaits_approval: asked.awaits_approval,
        };
        let nodes = Nodes::list_nodes(self, caller, tailnet, filter).await?;
        Ok(Response::new(ListNodesResponse { nodes }))
    }

    async fn get_node(
        &self,
        request: Request<GetNodeRequest>,
    ) -> Result<Response<GetNodeResponse>, Status> {
        let target = read_target(&request, |asked| asked.tailnet_id, |asked| asked.node_id)?;
        let node = Nodes::get_node(self, target).await?;
        Ok(Response::new(GetNodeResponse { node: Some(node) }))
    }

    async fn expire_node(
        &self,
        request: Request<ExpireNodeRequest>,
    ) -> Result<Response<ExpireNodeResponse>, Status> {
        let target = read_target(&request, |asked| asked.tailnet_id, |asked| asked.node_id)?;
        Ok(Response::new(Nodes::expire_node(self, target).await?))
    }

    async fn delete_node(
        &self,
        request: Request<DeleteNodeRequest>,
    ) -> Result<Response<DeleteNodeResponse>, Status> {
        let target = read_target(&request, |asked| asked.tailnet_id, |asked| asked.node_id)?;
        Ok(Response::new(Nodes::delete_node(self, target).await?))
    }

    async fn rename_node(
        &self,
        request: Request<RenameNodeRequest>,
    ) -> Result<Response<RenameNodeResponse>, Status> {
        let target = read_target(&request, |asked| asked.tailnet_id, |asked| asked.node_id)?;
        let renamed = Nodes::rename_node(self, target, request.into_inner().name);
        Ok(Response::new(renamed.await?))
    }

    async fn set_tags(
        &self,
        request: Request<SetTagsRequest>,
    ) -> Result<Response<SetTagsResponse>, Status> {
        let target = read_target(&request, |asked| asked.tailnet_id, |asked| asked.node_id)?;
        let tagged = Nodes::set_tags(self, target, request.into_inner().tags);
        Ok(Response::new(tagged.await?))
    }

    async fn set_approved_routes(
        &self,
        request: Request<SetApprovedRoutesRequest>,
    ) -> Result<Response<SetApprovedRoutesResponse>, Status> {
        let target = read_target(&request, |asked| asked.tailnet_id, |asked| asked.node_id)?;
        let routes = request.into_inner().routes;
        Ok(Response::new(self.approve_routes(target, &routes).await?))
    }

    async fn approve_node(
        &self,
        request: Request<ApproveNodeRequest>,
    ) -> Result<Response<ApproveNodeResponse>, Status> {
        let target = read_target(&request, |asked| asked.tailnet_id, |asked| asked.node_id)?;
        Ok(Response::new(Nodes::approve_node(self, target).await?))
    }

    async fn deny_node(
        &self,
        request: Request<DenyNodeRequest>,
    ) -> Result<Response<DenyNodeResponse>, Status> {
        let target = read_target(&request, |asked| asked.tailnet_id, |asked| asked.node_id)?;
        Ok(Response::new(Nodes::deny_node(self, target).await?))
    }

    async fn disable_node(
        &self,
        request: Request<DisableNodeRequest>,
    ) -> Result<Response<DisableNodeResponse>, Status> {
        let target = read_target(&request, |asked| asked.tailnet_id, |asked| asked.node_id)?;
        Ok(Response::new(Nodes::disable_node(self, target).await?))
    }

    async fn enable_node(
        &self,
        request: Request<EnableNodeRequest>,
    ) -> Result<Response<EnableNodeResponse>, Status> {
        let target = read_target(&request, |asked| asked.tailnet_id, |asked| asked.node_id)?;
        Ok(Response::new(Nodes::enable_node(self, target).await?))
    }

    async fn set_node_expiry(
        &self,
        request: Request<SetNodeExpiryRequest>,
    ) -> Result<Response<SetNodeExpiryResponse>, Status> {
        let target = read_target(&request, |asked| asked.tailnet_id, |asked| asked.node_id)?;
        let wanted = fields::read_expiry(request.get_ref().expiry)?;
        Ok(Response::new(self.set_expiry(target, wanted).await?))
    }

    async fn expire_nodes_of_pre_auth_key(
        &self,
        request: Request<ExpireNodesOfPreAuthKeyRequest>,
    ) -> Result<Response<ExpireNodesOfPreAuthKeyResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let asked = request.into_inner();
        let tailnet = read_tailnet_id(asked.tailnet_id)?;
        let ended = self.expire_nodes_of_key(caller, tailnet, asked.pre_auth_key_id);
        Ok(Response::new(ended.await?))
    }

    async fn set_node_attributes(
        &self,
        request: Request<SetNodeAttributesRequest>,
    ) -> Result<Response<SetNodeAttributesResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let SetNodeAttributesRequest {
            tailnet_id,
            updates,
        } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        let count = updates.len();
        if count > MOST_UPDATES {
            let problem = format!("are more than {MOST_UPDATES}");
            return Err(RegistryError::invalid("updates", problem).into());
        }
        let updates = updates.into_iter().map(|update| {
            let node_id = update.node_id;
            Ok((node_id, fields::read_attribute_changes(update)?))
        });
        let updates = updates.collect::<Result<BTreeMap<_, _>, RegistryError>>()?;
        if updates.len() < count {
            return Err(RegistryError::invalid("updates", "name a node twice").into());
        }
        let changed = self.set_attributes(caller, tailnet, updates).await?;
        Ok(Response::new(changed))
    }

    async fn list_node_attributes(
        &self,
        request: Request<ListNodeAttributesRequest>,
    ) -> Result<Response<ListNodeAttributesResponse>, Status> {
        let caller = Caller::of(&request)?;
        let asked = request.get_ref();
        let tailnet = read_tailnet_id(asked.tailnet_id)?;
        let node_id = Some(asked.node_id).filter(|id| *id != 0);
        let nodes = self.list_attributes(caller, tailnet, node_id).await?;
        Ok(Response::new(ListNodeAttributesResponse { nodes }))
    }

    async fn import_nodes(
        &self,
        request: Request<ImportNodesRequest>,
    ) -> Result<Response<ImportNodesResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let imported = Nodes::import_nodes(self, caller, request.into_inner()).await?;
        Ok(Response::new(imported))
    }

    async fn list_gateways(
        &self,
        _: Request<ListGatewaysRequest>,
    ) -> Result<Response<ListGatewaysResponse>, Status> {
        let gateways = describe_fleet(self.log().database()).await?;
        Ok(Response::new(ListGatewaysResponse { gateways }))
    }

    async fn await_gateways(
        &self,
        request: Request<AwaitGatewaysRequest>,
    ) -> Result<Response<AwaitGatewaysResponse>, Status> {
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let revision = request.identity_revision;
        let revocation = Nodes::await_gateways(self, OwnerLog::Identity, tailnet, revision).await?;
        Ok(Response::new(AwaitGatewaysResponse {
            revocation: Some(revocation),
        }))
    }
}
