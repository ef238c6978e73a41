//! What a first start makes, so that one person can join a machine at once: a tailnet, its owner, a first key.

use anyhow::Result;
use bowline_proto::{
    identity::v1::{
        CreateTailnetRequest, CreateUserRequest, ListTailnetsRequest, ListUsersRequest, Role,
        Tailnet, User, tailnet_service_client::TailnetServiceClient,
        user_service_client::UserServiceClient,
    },
    key_registry::v1::{
        CreatePreAuthKeyRequest, ListPreAuthKeysRequest, PreAuthKey,
        pre_auth_key_service_client::PreAuthKeyServiceClient,
    },
    time::to_timestamp,
};
use bowline_service_kit::GrpcChannel;
use chrono::TimeDelta;

/// The first tailnet's name.
const TAILNET: &str = "home";
/// How long the first key works.
const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// Makes the first tailnet, user and key; returns the key, or `None` when somebody has been here already.
///
/// A first start that was cut short is taken up where it ended.
pub async fn prepare_first_start(
    admin: GrpcChannel,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<Option<String>> {
    let Some(tailnet) = find_or_create_tailnet(admin.clone()).await? else {
        return Ok(None);
    };
    let Some(user) = find_or_create_owner(admin.clone(), tailnet.id).await? else {
        return Ok(None);
    };
    let mut keys = PreAuthKeyServiceClient::new(admin);
    let request = ListPreAuthKeysRequest {
        tailnet_id: tailnet.id,
    };
    if !keys
        .list_pre_auth_keys(request)
        .await?
        .into_inner()
        .keys
        .is_empty()
    {
        return Ok(None);
    }
    let key = PreAuthKey {
        tailnet_id: tailnet.id,
        user_id: user.id,
        reusable: true,
        pre_approved: true,
        description: "made by the first start".to_owned(),
        expires_at: Some(to_timestamp(now + LIFETIME)),
        ..PreAuthKey::default()
    };
    let request = CreatePreAuthKeyRequest { key: Some(key) };
    let answer = keys.create_pre_auth_key(request).await?;
    Ok(Some(answer.into_inner().secret))
}

/// Returns the first tailnet, if there is no other.
async fn find_or_create_tailnet(admin: GrpcChannel) -> Result<Option<Tailnet>> {
    let mut client = TailnetServiceClient::new(admin);
    let known = client.list_tailnets(ListTailnetsRequest {}).await?;
    match known.into_inner().tailnets.as_slice() {
        [] => {
            let request = CreateTailnetRequest {
                name: TAILNET.to_owned(),
                settings: None,
            };
            let made = client.create_tailnet(request).await?;
            Ok(made.into_inner().tailnet)
        }
        [only] if only.name == TAILNET => Ok(Some(only.clone())),
        _ => Ok(None),
    }
}

/// Returns its first user, if there is no other.
async fn find_or_create_owner(admin: GrpcChannel, tailnet_id: u64) -> Result<Option<User>> {
    let mut client = UserServiceClient::new(admin);
    let known = client.list_users(ListUsersRequest { tailnet_id }).await?;
    let login_name = format!("owner@{TAILNET}");
    match known.into_inner().users.as_slice() {
        [] => {
            let request = CreateUserRequest {
                tailnet_id,
                login_name,
                display_name: "Owner".to_owned(),
                role: Role::Owner.into(),
            };
            let made = client.create_user(request).await?;
            Ok(made.into_inner().user)
        }
        [only] if only.login_name == login_name => Ok(Some(only.clone())),
        _ => Ok(None),
    }
}
