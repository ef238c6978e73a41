//! Users.

use bowline_db::next_id;
use bowline_proto::{
    identity::v1::{
        CreateUserRequest, CreateUserResponse, DeleteUserRequest, DeleteUserResponse,
        IdentityChange, ListUsersRequest, ListUsersResponse, Role, UpdateUserRequest,
        UpdateUserResponse, User, identity_change::Change, user_service_server::UserService,
    },
    time::to_timestamp,
};
use bowline_service_kit::Caller;
use serde_json::json;
use tonic::{Request, Response, Status};

use crate::{
    Identity,
    domain::{describe_change, user},
    error::IdentityError,
    fields::{read_tailnet_id, require_field},
    store,
};

#[tonic::async_trait]
impl UserService for Identity {
    async fn create_user(
        &self,
        request: Request<CreateUserRequest>,
    ) -> Result<Response<CreateUserResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let request = request.into_inner();
        let tailnet = read_tailnet_id(request.tailnet_id)?;
        let role = match request.role() {
            Role::Unspecified => Role::Member,
            chosen => chosen,
        };
        let (user, _) = self
            .log()
            .mutate(tailnet, actor, move |mutation| {
                Box::pin(async move {
                    let found = store::find_tailnet(mutation.connection(), tailnet.get()).await?;
                    found.ok_or(IdentityError::NotFound("tailnet"))?;
                    let mut made = User {
                        tailnet_id: tailnet.get(),
                        login_name: request.login_name,
                        display_name: request.display_name,
                        role: role.into(),
                        created_at: Some(to_timestamp(mutation.now())),
                        ..User::default()
                    };
                    user::check_user(&made)?;
                    let on = mutation.connection();
                    if let Some(other) =
                        store::find_user_named_alike(on, tailnet.get(), &made.login_name).await?
                    {
                        return Err(IdentityError::NamedAlike(other.login_name));
                    }
                    made.id = next_id(mutation.connection()).await?.cast_unsigned();
                    store::put_user(mutation.connection(), &made).await?;
                    mutation.record_entry(&IdentityChange {
                        change: Some(Change::User(made.clone())),
                    });
                    mutation.record_audit(
                        "user.create",
                        made.login_name.clone(),
                        &json!({ "id": made.id, "after": user::describe_user(&made) }),
                    );
                    Ok::<_, IdentityError>(made)
                })
            })
            .await?;
        Ok(Response::new(CreateUserResponse { user: Some(user) }))
    }

    async fn list_users(
        &self,
        request: Request<ListUsersRequest>,
    ) -> Result<Response<ListUsersResponse>, Status> {
        let tailnet = read_tailnet_id(request.into_inner().tailnet_id)?;
        let users = store::list_users(self.log().database().reader(), tailnet.get())
            .await
            .map_err(IdentityError::from)?;
        Ok(Response::new(ListUsersResponse { users }))
    }

    async fn update_user(
        &self,
        request: Request<UpdateUserRequest>,
    ) -> Result<Response<UpdateUserResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let UpdateUserRequest {
            user: wanted,
            update_mask,
        } = request.into_inner();
        let wanted = require_field("user", wanted)?;
        // Without a mask nothing is to change.
        let mask = update_mask.map_or_else(Vec::new, |mask| mask.paths);
        let tailnet = read_tailnet_id(wanted.tailnet_id)?;
        let (user, revision) = self
            .log()
            .mutate(tailnet, actor, move |mutation| {
                Box::pin(async move {
                    let users = store::list_users(mutation.connection(), tailnet.get()).await?;
                    let found = users.iter().find(|user| user.id == wanted.id);
                    let before = found.ok_or(IdentityError::NotFound("user"))?;
                    let mut changed = before.clone();
                    user::update_fields(&mut changed, &wanted, &mask)?;
                    if user::loses_last_owner(&users, wanted.id, Some(&changed)) {
                        return Err(LAST_OWNER);
                    }
                    store::put_user(mutation.connection(), &changed).await?;
                    mutation.record_entry(&IdentityChange {
                        change: Some(Change::User(changed.clone())),
                    });
                    let detail = describe_change(
                        &user::describe_user(before),
                        &user::describe_user(&changed),
                    );
                    mutation.record_audit("user.update", changed.login_name.clone(), &detail);
                    Ok(changed)
                })
            })
            .await?;
        Ok(Response::new(UpdateUserResponse {
            user: Some(user),
            revision: revision.get(),
        }))
    }

    async fn delete_user(
        &self,
        request: Request<DeleteUserRequest>,
    ) -> Result<Response<DeleteUserResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let DeleteUserRequest {
            tailnet_id: tailnet,
            user_id,
        } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet)?;
        let ((), revision) = self
            .log()
            .mutate(tailnet, actor, move |mutation| {
                Box::pin(async move {
                    let users = store::list_users(mutation.connection(), tailnet.get()).await?;
                    let found = users.iter().find(|user| user.id == user_id);
                    let gone = found.ok_or(IdentityError::NotFound("user"))?;
                    if user::loses_last_owner(&users, user_id, None) {
                        return Err(LAST_OWNER);
                    }
                    store::delete_user(mutation.connection(), user_id).await?;
                    mutation.record_entry(&IdentityChange {
                        change: Some(Change::UserDeleted(user_id)),
                    });
                    mutation.record_audit(
                        "user.delete",
                        gone.login_name.clone(),
                        &json!({ "id": user_id, "before": user::describe_user(gone) }),
                    );
                    Ok(())
                })
            })
            .await?;
        Ok(Response::new(DeleteUserResponse {
            revision: revision.get(),
        }))
    }
}

const LAST_OWNER: IdentityError = IdentityError::Refused(
    "the tailnet would have no owner left: make somebody else an owner first",
);
