//! What a first start makes, so that one person can join a machine at once: a tailnet, its owner, a first key, and a link that
//! lets the owner in by a browser.

use anyhow::Result;
use bowline_proto::{
    identity::v1::{
        Connection, CreateConnectionRequest, CreateInvitationRequest, CreateTailnetRequest,
        CreateUserRequest, Invitation, ListConnectionsRequest, ListTailnetsRequest,
        ListUsersRequest, LocalProvider, Role, Tailnet, User, connection::Provider,
        connection_service_client::ConnectionServiceClient,
        invitation_service_client::InvitationServiceClient,
        tailnet_service_client::TailnetServiceClient, user_service_client::UserServiceClient,
    },
    key_registry::v1::{
        CreatePreAuthKeyRequest, ListPreAuthKeysRequest, PreAuthKey,
        pre_auth_key_service_client::PreAuthKeyServiceClient,
    },
    time::to_timestamp,
};
use bowline_service_kit::GrpcChannel;
use chrono::TimeDelta;
use prost_types::Duration;

/// The first tailnet's name.
const TAILNET: &str = "home";
/// The longest answer that is read.
const LONGEST_ANSWER: usize = 1 << 30;
/// What the login page calls passkeys.
const PASSKEYS: &str = "a passkey";
/// How long the first key and the first link work.
const LIFETIME: TimeDelta = TimeDelta::hours(24);

/// What a first start gives its owner.
#[derive(Clone, Debug)]
pub struct FirstStart {
    /// The key that joins machines.
    pub key: String,
    /// The link that lets the owner in by a browser, once.
    pub link: String,
}

/// The services that make it.
#[derive(Clone, Debug)]
pub struct FirstStartServices {
    /// Identity: tailnet, owner and link.
    pub identity: GrpcChannel,
    /// Key registry: the key.
    pub registry: GrpcChannel,
}

/// Makes the first tailnet, user and key; returns what the owner is told, or `None` when somebody has been here already.
///
/// A first start that was cut short is taken up where it ended.
///
/// # Errors
///
/// What a service says.
pub async fn prepare_first_start(
    services: FirstStartServices,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<Option<FirstStart>> {
    let FirstStartServices { identity, registry } = services;
    let Some(tailnet) = find_or_create_tailnet(identity.clone()).await? else {
        return Ok(None);
    };
    let Some(user) = find_or_create_owner(identity.clone(), tailnet.id).await? else {
        return Ok(None);
    };
    let mut keys = PreAuthKeyServiceClient::new(registry);
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
    let request = CreatePreAuthKeyRequest {
        key: Some(key),
        ..CreatePreAuthKeyRequest::default()
    };
    let answer = keys.create_pre_auth_key(request).await?;
    let key = answer.into_inner().secret;
    let link = make_link(identity, &user).await?;
    Ok(Some(FirstStart { key, link }))
}

/// Lets people of the first tailnet have passkeys, and returns a link for its owner.
async fn make_link(admin: GrpcChannel, owner: &User) -> Result<String> {
    let tailnet_id = owner.tailnet_id;
    let mut connections = ConnectionServiceClient::new(admin.clone());
    let request = ListConnectionsRequest { tailnet_id };
    let known = connections.list_connections(request).await?.into_inner();
    if known.connections.is_empty() {
        let connection = Connection {
            tailnet_id,
            name: PASSKEYS.to_owned(),
            provider: Some(Provider::Local(LocalProvider {})),
            ..Connection::default()
        };
        let request = CreateConnectionRequest {
            connection: Some(connection),
            ..CreateConnectionRequest::default()
        };
        connections.create_connection(request).await?;
    }
    let invitation = Invitation {
        tailnet_id,
        login_name: owner.login_name.clone(),
        ..Invitation::default()
    };
    let request = CreateInvitationRequest {
        invitation: Some(invitation),
        lifetime: Some(Duration {
            seconds: LIFETIME.num_seconds(),
            nanos: 0,
        }),
    };
    let mut invitations = InvitationServiceClient::new(admin);
    let answer = invitations.create_invitation(request).await?;
    Ok(answer.into_inner().url)
}

/// Returns the first tailnet, if there is no other.
async fn find_or_create_tailnet(admin: GrpcChannel) -> Result<Option<Tailnet>> {
    let mut client = TailnetServiceClient::new(admin).max_decoding_message_size(LONGEST_ANSWER);
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
    let known = client
        .list_users(ListUsersRequest {
            tailnet_id,
            ..ListUsersRequest::default()
        })
        .await?;
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
