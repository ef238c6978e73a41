//! Users, for administrators.

use bowline_proto::identity::v1::{
    CreateUserRequest, CreateUserResponse, DeleteUserRequest, DeleteUserResponse, ListUsersRequest,
    ListUsersResponse, MergeUsersRequest, MergeUsersResponse, TransferOwnershipRequest,
    TransferOwnershipResponse, UpdateUserRequest, UpdateUserResponse,
    user_service_server::UserService,
};
use bowline_service_kit::Caller;
use tonic::{Request, Response, Status};

use crate::{
    fields::{read_mask, read_tailnet_id, require_field},
    users::Users,
};

#[tonic::async_trait]
impl UserService for Users {
    async fn create_user(
        &self,
        request: Request<CreateUserRequest>,
    ) -> Result<Response<CreateUserResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let wanted = request.into_inner();
        let tailnet = read_tailnet_id(wanted.tailnet_id)?;
        let made = Users::create_user(self, tailnet, caller, wanted).await?;
        Ok(Response::new(made))
    }

    async fn list_users(
        &self,
        request: Request<ListUsersRequest>,
    ) -> Result<Response<ListUsersResponse>, Status> {
        let ListUsersRequest {
            tailnet_id,
            awaits_approval,
            login_name,
        } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        let users = match login_name.as_str() {
            "" => Users::list_users(self, tailnet, awaits_approval).await?,
            name => self
                .find_user_named(tailnet, name)
                .await?
                .into_iter()
                .collect(),
        };
        Ok(Response::new(ListUsersResponse { users }))
    }

    async fn update_user(
        &self,
        request: Request<UpdateUserRequest>,
    ) -> Result<Response<UpdateUserResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let UpdateUserRequest { user, update_mask } = request.into_inner();
        let wanted = require_field("user", user)?;
        let tailnet = read_tailnet_id(wanted.tailnet_id)?;
        let mask = read_mask(update_mask);
        let changed = Users::update_user(self, tailnet, caller, wanted, mask).await?;
        Ok(Response::new(changed))
    }

    async fn transfer_ownership(
        &self,
        request: Request<TransferOwnershipRequest>,
    ) -> Result<Response<TransferOwnershipResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let TransferOwnershipRequest {
            tailnet_id,
            user_id,
        } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        let transferred = Users::transfer_ownership(self, tailnet, caller, user_id).await?;
        Ok(Response::new(transferred))
    }

    async fn merge_users(
        &self,
        request: Request<MergeUsersRequest>,
    ) -> Result<Response<MergeUsersResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let merged = Users::merge_users(self, tailnet, caller, request).await?;
        Ok(Response::new(merged))
    }

    async fn delete_user(
        &self,
        request: Request<DeleteUserRequest>,
    ) -> Result<Response<DeleteUserResponse>, Status> {
        let caller = Caller::of(&request)?.clone();
        let DeleteUserRequest {
            tailnet_id,
            user_id,
        } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet_id)?;
        let deleted = Users::delete_user(self, tailnet, caller, user_id).await?;
        Ok(Response::new(deleted))
    }
}
