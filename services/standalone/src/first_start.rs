//! What a first start makes, so that one person can join a machine at once: a tailnet, its owner, a first key.

use anyhow::Result;
use bowline_proto::{
    identity::v1::{
        CreateTailnetRequest, CreateUserRequest, ListTailnetsRequest, Role,
        tailnet_service_client::TailnetServiceClient, user_service_client::UserServiceClient,
    },
    key_registry::v1::{
        CreatePreAuthKeyRequest, PreAuthKey, pre_auth_key_service_client::PreAuthKeyServiceClient,
    },
};
use bowline_service_kit::GrpcChannel;
use chrono::TimeDelta;
use prost_types::Timestamp;

/// The first tailnet's name.
const TAILNET: &str = "home";
/// How long the first key works.
const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// Makes the first tailnet, user and key; returns the key, or `None` when there is a tailnet already.
pub async fn prepare(
    admin: GrpcChannel,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<Option<String>> {
    let mut tailnets = TailnetServiceClient::new(admin.clone());
    let known = tailnets
        .list_tailnets(ListTailnetsRequest {})
        .await?
        .into_inner()
        .tailnets;
    if !known.is_empty() {
        return Ok(None);
    }
    let request = CreateTailnetRequest {
        name: TAILNET.to_owned(),
        settings: None,
    };
    let tailnet = tailnets
        .create_tailnet(request)
        .await?
        .into_inner()
        .tailnet
        .unwrap_or_default();
    let request = CreateUserRequest {
        tailnet_id: tailnet.id,
        login_name: format!("owner@{TAILNET}"),
        display_name: "Owner".to_owned(),
        role: Role::Owner.into(),
    };
    let mut users = UserServiceClient::new(admin.clone());
    let user = users
        .create_user(request)
        .await?
        .into_inner()
        .user
        .unwrap_or_default();
    let key = PreAuthKey {
        tailnet_id: tailnet.id,
        user_id: user.id,
        reusable: true,
        pre_approved: true,
        description: "made by the first start".to_owned(),
        expires_at: Some(Timestamp {
            seconds: (now + LIFETIME).timestamp(),
            nanos: 0,
        }),
        ..PreAuthKey::default()
    };
    let request = CreatePreAuthKeyRequest { key: Some(key) };
    let answer = PreAuthKeyServiceClient::new(admin)
        .create_pre_auth_key(request)
        .await?;
    Ok(Some(answer.into_inner().secret))
}
