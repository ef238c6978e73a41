//! Tailnets and users.

use bowline_proto::identity::v1::{
    CreateTailnetRequest, CreateUserRequest, DeleteGroupRequest, KeyPolicy, ListGroupsRequest,
    ListTailnetsRequest, ListUsersRequest, Tailnet, UpdateTailnetRequest, UpdateUserRequest, User,
    group_service_client::GroupServiceClient, tailnet_service_client::TailnetServiceClient,
    user_service_client::UserServiceClient,
};
use bowline_service_kit::GrpcChannel;
use prost_types::FieldMask;

use crate::TestServices;

impl TestServices {
    /// Makes another tailnet, with a user.
    pub async fn new_tailnet(&self, name: &str) -> User {
        create(&self.admin(), name).await.unwrap()
    }

    /// Suspends a user, or takes that back.
    pub async fn set_suspended(&self, user: &User, suspended: bool) {
        let user = User {
            suspended,
            ..user.clone()
        };
        self.update_user(user, "suspended").await;
    }

    /// Lets machines of `home` wait for an administrator from here on.
    pub async fn require_approval(&self) {
        let settings = Tailnet {
            machine_approval: true,
            ..Tailnet::default()
        };
        self.update_tailnet(settings, "machine_approval").await;
    }

    /// Sets the key policy of `home`.
    pub async fn set_key_policy(&self, policy: KeyPolicy) {
        let settings = Tailnet {
            key_policy: Some(policy),
            ..Tailnet::default()
        };
        self.update_tailnet(settings, "key_policy").await;
    }

    /// Sets one field of `home`.
    pub async fn update_tailnet(&self, settings: Tailnet, field: &str) {
        let request = UpdateTailnetRequest {
            tailnet: Some(Tailnet {
                id: self.tailnet,
                ..settings
            }),
            update_mask: Some(FieldMask {
                paths: vec![field.to_owned()],
            }),
        };
        let mut tailnets = TailnetServiceClient::new(self.admin());
        tailnets.update_tailnet(request).await.unwrap();
    }

    /// Sets the groups that the user is in.
    pub async fn set_groups(&self, groups: &[&str]) {
        let user = User {
            groups: groups.iter().map(ToString::to_string).collect(),
            ..self.user.clone()
        };
        self.update_user(user, "groups").await;
    }

    /// Deletes all groups of the tailnet.
    pub async fn delete_groups(&self) {
        let mut groups = GroupServiceClient::new(self.admin());
        let tailnet_id = self.tailnet;
        let listed = groups.list_groups(ListGroupsRequest { tailnet_id }).await;
        for listed in listed.unwrap().into_inner().groups {
            let request = DeleteGroupRequest {
                tailnet_id,
                group_id: listed.group.unwrap_or_default().id,
            };
            groups.delete_group(request).await.unwrap();
        }
    }

    async fn update_user(&self, user: User, field: &str) {
        let update_mask = Some(FieldMask {
            paths: vec![field.to_owned()],
        });
        let request = UpdateUserRequest {
            user: Some(user),
            update_mask,
        };
        let mut users = UserServiceClient::new(self.admin());
        users.update_user(request).await.unwrap();
    }
}

/// Returns the user of the tailnet `home`, which is there already after a restart.
pub(crate) async fn find_or_create_home(admin: &GrpcChannel) -> User {
    let mut tailnets = TailnetServiceClient::new(admin.clone());
    let found = tailnets.list_tailnets(ListTailnetsRequest {}).await;
    let found = found.unwrap().into_inner().tailnets;
    let Some(home) = found.iter().find(|tailnet| tailnet.name == "home") else {
        return create(admin, "home").await.unwrap();
    };
    let mut users = UserServiceClient::new(admin.clone());
    let tailnet_id = home.id;
    let found = users
        .list_users(ListUsersRequest {
            tailnet_id,
            ..ListUsersRequest::default()
        })
        .await;
    found.unwrap().into_inner().users.remove(0)
}

async fn create(admin: &GrpcChannel, name: &str) -> Result<User, tonic::Status> {
    let request = CreateTailnetRequest {
        name: name.to_owned(),
        settings: None,
    };
    let mut tailnets = TailnetServiceClient::new(admin.clone());
    let made = tailnets.create_tailnet(request).await?.into_inner();
    let request = CreateUserRequest {
        tailnet_id: made.tailnet.unwrap_or_default().id,
        login_name: "amira@example.com".to_owned(),
        ..Default::default()
    };
    let mut users = UserServiceClient::new(admin.clone());
    let made = users.create_user(request).await?.into_inner();
    Ok(made.user.unwrap_or_default())
}
