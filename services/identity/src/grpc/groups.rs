//! Groups, for administrators.

use bowline_proto::identity::v1::{
    AddGroupMemberRequest, AddGroupMemberResponse, CreateGroupRequest, CreateGroupResponse,
    DeleteGroupRequest, DeleteGroupResponse, ListGroupsRequest, ListGroupsResponse,
    RemoveGroupMemberRequest, RemoveGroupMemberResponse, UpdateGroupRequest, UpdateGroupResponse,
    group_service_server::GroupService,
};
use bowline_service_kit::Caller;
use tonic::{Request, Response, Status};

use crate::{
    fields::{read_mask, read_tailnet_id, require_field},
    groups::Groups,
};

#[tonic::async_trait]
impl GroupService for Groups {
    async fn create_group(
        &self,
        request: Request<CreateGroupRequest>,
    ) -> Result<Response<CreateGroupResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let CreateGroupRequest { tailnet_id, name } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        let made = Groups::create_group(self, tailnet, actor, name).await?;
        Ok(Response::new(made))
    }

    async fn list_groups(
        &self,
        request: Request<ListGroupsRequest>,
    ) -> Result<Response<ListGroupsResponse>, Status> {
        let tailnet = read_tailnet_id(request.into_inner().tailnet_id)?;
        let groups = self.list_all(tailnet).await?;
        Ok(Response::new(ListGroupsResponse { groups }))
    }

    async fn update_group(
        &self,
        request: Request<UpdateGroupRequest>,
    ) -> Result<Response<UpdateGroupResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let UpdateGroupRequest { group, update_mask } = request.into_inner();
        let wanted = require_field("group", group)?;
        let tailnet = read_tailnet_id(wanted.tailnet_id)?;
        let mask = read_mask(update_mask);
        let changed = Groups::update_group(self, tailnet, actor, wanted, mask).await?;
        Ok(Response::new(changed))
    }

    async fn delete_group(
        &self,
        request: Request<DeleteGroupRequest>,
    ) -> Result<Response<DeleteGroupResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let DeleteGroupRequest {
            tailnet_id,
            group_id,
        } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        Groups::delete_group(self, tailnet, actor, group_id).await?;
        Ok(Response::new(DeleteGroupResponse {}))
    }

    async fn add_group_member(
        &self,
        request: Request<AddGroupMemberRequest>,
    ) -> Result<Response<AddGroupMemberResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let AddGroupMemberRequest {
            tailnet_id,
            group_id,
            user_id,
        } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        let added = self.add_member(tailnet, actor, group_id, user_id).await?;
        Ok(Response::new(added))
    }

    async fn remove_group_member(
        &self,
        request: Request<RemoveGroupMemberRequest>,
    ) -> Result<Response<RemoveGroupMemberResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let RemoveGroupMemberRequest {
            tailnet_id,
            group_id,
            user_id,
        } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        let removed = self.remove_member(tailnet, actor, group_id, user_id);
        Ok(Response::new(removed.await?))
    }
}
