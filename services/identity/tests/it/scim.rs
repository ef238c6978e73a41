//! Users and groups that a provider brings by SCIM, and the tokens it does so with.

mod first_logins;
mod groups;
mod listing;
mod tokens;
mod users;

use bowline_proto::identity::v1::connection_service_client::ConnectionServiceClient;
use bowline_proto::identity::v1::scim_service_client::ScimServiceClient;
use bowline_proto::identity::v1::scim_token_service_client::ScimTokenServiceClient;
use bowline_proto::identity::v1::user_service_client::UserServiceClient;
use bowline_proto::identity::v1::{
    Connection, CreateConnectionRequest, CreateScimResourceRequest, CreateScimTokenRequest,
    DeleteScimResourceRequest, GetScimResourceRequest, ListScimResourcesRequest, ListUsersRequest,
    OidcProvider, PatchScimResourceRequest, ReplaceScimResourceRequest, RoleGroup, ScimProjection,
    ScimResource, ScimResourceType, ScimToken, Tailnet, UpdateUserRequest, User,
    connection::Provider,
};
use bowline_service_kit::{Caller, GrpcChannel, ServiceName, status_reason};
use prost_types::FieldMask;
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::identity::{TestIdentity, channel};

const USER: ScimResourceType = ScimResourceType::User;
const GROUP: ScimResourceType = ScimResourceType::Group;
const USER_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP_SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const PATCH_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// A provider with its token, as the portal calls for it.
struct TestProvider<'a> {
    identity: &'a TestIdentity,
    home: Tailnet,
    connection: Connection,
    token: ScimToken,
    secret: String,
}

impl<'a> TestProvider<'a> {
    /// Returns the provider of a new tailnet, whose connection has the domain example.com.
    async fn start(identity: &'a TestIdentity, tailnet: &str) -> Self {
        let home = identity.new_tailnet(tailnet).await;
        let connection = Connection {
            domains: vec![format!("{tailnet}.example.com")],
            ..Connection::default()
        };
        Self::with_connection(identity, home, connection).await
    }

    async fn with_connection(
        identity: &'a TestIdentity,
        home: Tailnet,
        connection: Connection,
    ) -> Self {
        let request = CreateConnectionRequest {
            connection: Some(Connection {
                tailnet_id: home.id,
                name: match connection.name.as_str() {
                    "" => "Example Corp".to_owned(),
                    name => name.to_owned(),
                },
                provider: Some(Provider::Oidc(OidcProvider {
                    issuer: "https://login.example.com".to_owned(),
                    client_id: "bowline".to_owned(),
                    ..OidcProvider::default()
                })),
                ..connection
            }),
            ..CreateConnectionRequest::default()
        };
        let mut connections = ConnectionServiceClient::new(identity.admin());
        let made = connections.create_connection(request).await.unwrap();
        let connection = made.into_inner().connection.unwrap();
        Self::of_connection(identity, home, connection).await
    }

    async fn of_connection(
        identity: &'a TestIdentity,
        home: Tailnet,
        connection: Connection,
    ) -> Self {
        let (token, secret) = create_token(identity.admin(), &connection).await.unwrap();
        Self {
            identity,
            home,
            connection,
            token,
            secret,
        }
    }

    fn scim(&self) -> ScimServiceClient<GrpcChannel> {
        let caller = Caller::Service(ServiceName::NetmapGateway);
        ScimServiceClient::new(channel(self.identity.identity(), caller))
    }

    async fn create(&self, of: ScimResourceType, body: Value) -> Result<Value, Status> {
        let request = CreateScimResourceRequest {
            token: self.secret.clone(),
            r#type: of.into(),
            body: body.to_string(),
            projection: None,
        };
        let made = self.scim().create_scim_resource(request).await?;
        Ok(read(made.into_inner().resource))
    }

    async fn create_user(&self, name: &str) -> Value {
        let body = json!({ "schemas": [USER_SCHEMA], "userName": name });
        self.create(USER, body).await.unwrap()
    }

    async fn create_group(&self, name: &str, members: &[&Value]) -> Value {
        let members: Vec<_> = members
            .iter()
            .map(|user| json!({ "value": user["id"] }))
            .collect();
        let body = json!({ "schemas": [GROUP_SCHEMA], "displayName": name, "members": members });
        self.create(GROUP, body).await.unwrap()
    }

    async fn get(&self, of: ScimResourceType, id: &Value) -> Result<Value, Status> {
        let request = GetScimResourceRequest {
            token: self.secret.clone(),
            r#type: of.into(),
            id: id.as_str().unwrap().to_owned(),
            projection: None,
        };
        let found = self.scim().get_scim_resource(request).await?;
        Ok(read(found.into_inner().resource))
    }

    async fn replace(
        &self,
        of: ScimResourceType,
        id: &Value,
        body: Value,
    ) -> Result<Value, Status> {
        let request = ReplaceScimResourceRequest {
            token: self.secret.clone(),
            r#type: of.into(),
            id: id.as_str().unwrap().to_owned(),
            body: body.to_string(),
            ..ReplaceScimResourceRequest::default()
        };
        let changed = self.scim().replace_scim_resource(request).await?;
        Ok(read(changed.into_inner().resource))
    }

    async fn patch(
        &self,
        of: ScimResourceType,
        id: &Value,
        operations: Value,
    ) -> Result<ScimResource, Status> {
        self.patch_version(of, id, operations, "").await
    }

    async fn patch_version(
        &self,
        of: ScimResourceType,
        id: &Value,
        operations: Value,
        if_match: &str,
    ) -> Result<ScimResource, Status> {
        let body = json!({ "schemas": [PATCH_SCHEMA], "Operations": operations });
        let request = PatchScimResourceRequest {
            token: self.secret.clone(),
            r#type: of.into(),
            id: id.as_str().unwrap().to_owned(),
            body: body.to_string(),
            if_match: if_match.to_owned(),
            projection: None,
        };
        let changed = self.scim().patch_scim_resource(request).await?;
        Ok(changed.into_inner().resource.unwrap())
    }

    async fn delete(&self, of: ScimResourceType, id: &Value) -> Result<(), Status> {
        let request = DeleteScimResourceRequest {
            token: self.secret.clone(),
            r#type: of.into(),
            id: id.as_str().unwrap().to_owned(),
            if_match: String::new(),
        };
        self.scim().delete_scim_resource(request).await.map(drop)
    }

    async fn list(
        &self,
        of: ScimResourceType,
        search: ListScimResourcesRequest,
    ) -> Result<(u64, Vec<Value>), Status> {
        let request = ListScimResourcesRequest {
            token: self.secret.clone(),
            r#type: of.into(),
            ..search
        };
        let found = self.scim().list_scim_resources(request).await?.into_inner();
        let resources = found.resources.into_iter();
        Ok((found.total, resources.map(|one| read(Some(one))).collect()))
    }

    /// Returns the names of the users that a filter matches.
    async fn find_names(&self, filter: &str) -> Result<Vec<String>, Status> {
        let search = ListScimResourcesRequest {
            filter: filter.to_owned(),
            ..ListScimResourcesRequest::default()
        };
        let (_, found) = self.list(USER, search).await?;
        let name = |one: &Value| one["userName"].as_str().unwrap().to_owned();
        Ok(found.iter().map(name).collect())
    }

    /// Returns a user as administrators see it.
    async fn user(&self, id: &Value) -> Option<User> {
        let id: u64 = id.as_str().unwrap().parse().unwrap();
        self.users().await.into_iter().find(|user| user.id == id)
    }

    async fn users(&self) -> Vec<User> {
        let request = ListUsersRequest {
            tailnet_id: self.home.id,
            ..ListUsersRequest::default()
        };
        let mut users = UserServiceClient::new(self.identity.admin());
        users.list_users(request).await.unwrap().into_inner().users
    }

    async fn set_suspended(&self, id: &Value, suspended: bool) -> Result<(), Status> {
        let user = User {
            suspended,
            ..self.user(id).await.unwrap()
        };
        update_user(self.identity, user, "suspended").await
    }
}

async fn update_user(identity: &TestIdentity, user: User, field: &str) -> Result<(), Status> {
    let request = UpdateUserRequest {
        user: Some(user),
        update_mask: Some(FieldMask {
            paths: vec![field.to_owned()],
        }),
    };
    let mut users = UserServiceClient::new(identity.admin());
    users.update_user(request).await.map(drop)
}

async fn create_token(
    channel: GrpcChannel,
    connection: &Connection,
) -> Result<(ScimToken, String), Status> {
    let request = CreateScimTokenRequest {
        tailnet_id: connection.tailnet_id,
        connection_id: connection.id,
        description: "people".to_owned(),
    };
    let mut tokens = ScimTokenServiceClient::new(channel);
    let made = tokens.create_scim_token(request).await?.into_inner();
    Ok((made.token.unwrap(), made.secret))
}

fn read(resource: Option<ScimResource>) -> Value {
    serde_json::from_str(&resource.unwrap().body).unwrap()
}

fn deactivate() -> Value {
    json!([{ "op": "Replace", "path": "active", "value": "False" }])
}

fn activate() -> Value {
    json!([{ "op": "replace", "value": { "active": true } }])
}

fn assert_refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, words: &str) {
    let status = answer.expect_err("a refusal");
    assert_eq!(status.code(), code, "{status:?}");
    assert!(status.message().contains(words), "{status:?}");
}

fn assert_reason<T: std::fmt::Debug>(answer: Result<T, Status>, reason: &str) {
    let status = answer.expect_err("a refusal");
    assert_eq!(
        status_reason(&status).as_deref(),
        Some(reason),
        "{status:?}"
    );
}

fn by_role_group(group: &str, role: bowline_proto::identity::v1::Role) -> Connection {
    Connection {
        role_groups: vec![RoleGroup {
            group: group.to_owned(),
            role: role.into(),
        }],
        ..Connection::default()
    }
}

fn only(attributes: &str) -> Option<ScimProjection> {
    Some(ScimProjection {
        attributes: attributes.to_owned(),
        excluded_attributes: String::new(),
    })
}
