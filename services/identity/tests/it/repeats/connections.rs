//! Connections to providers, and what belongs to them.

use bowline_proto::identity::v1::{
    AddConditionRequest, AddConditionResponse, Condition, ConditionScope, Connection,
    CreateConnectionRequest, CreateConnectionResponse, CreateScimTokenRequest,
    CreateScimTokenResponse, DeleteConnectionRequest, DeleteConnectionResponse, LinkUserRequest,
    LinkUserResponse, OidcProvider, RefreshConnectionRequest, RefreshConnectionResponse,
    RemoveConditionRequest, RemoveConditionResponse, RevokeScimTokenRequest,
    RevokeScimTokenResponse, RollConnectionKeyRequest, RollConnectionKeyResponse, SamlProvider,
    UnlinkUserRequest, UnlinkUserResponse, UpdateConnectionRequest, UpdateConnectionResponse,
    connection::Provider,
};
use bowline_test_support::{RepeatedCalls, TestServices};
use prost_types::Duration;

use super::changes::mask;

/// A SAML provider.
const SAML_METADATA: &[u8] =
    include_bytes!("../../../../../shared/saml/src/response/tests/pysaml2/metadata.xml");

pub(super) async fn create_connection(
    services: &TestServices,
    calls: &mut RepeatedCalls,
    name: &str,
    provider: Provider,
) -> Connection {
    let request = CreateConnectionRequest {
        saml_metadata: match provider {
            Provider::Saml(_) => SAML_METADATA.to_vec(),
            _ => Vec::new(),
        },
        connection: Some(Connection {
            tailnet_id: services.tailnet,
            name: name.to_owned(),
            provider: Some(provider),
            ..Connection::default()
        }),
        ..CreateConnectionRequest::default()
    };
    let rpc = "identity.v1.ConnectionService/CreateConnection";
    let made: CreateConnectionResponse = calls.ask(rpc, request).await;
    made.connection.unwrap()
}

pub(super) async fn change_connections(services: &TestServices, calls: &mut RepeatedCalls) {
    let (tailnet_id, user_id) = (services.tailnet, services.user.id);
    let oidc = Provider::Oidc(OidcProvider {
        issuer: "https://login.example.com".to_owned(),
        client_id: "bowline".to_owned(),
        refresh_interval: Some(Duration {
            seconds: 3600,
            nanos: 0,
        }),
        ..OidcProvider::default()
    });
    let connection = create_connection(services, calls, "one", oidc).await;
    let connection_id = connection.id;
    let request = UpdateConnectionRequest {
        connection: Some(Connection {
            name: "other".to_owned(),
            ..connection
        }),
        update_mask: mask("name"),
        ..UpdateConnectionRequest::default()
    };
    let rpc = "identity.v1.ConnectionService/UpdateConnection";
    calls.ask::<_, UpdateConnectionResponse>(rpc, request).await;
    let (subject, link) = ("amira".to_owned(), "identity.v1.ConnectionService/LinkUser");
    let request = LinkUserRequest {
        tailnet_id,
        user_id,
        connection_id,
        subject: subject.clone(),
    };
    calls.ask::<_, LinkUserResponse>(link, request).await;
    let request = RefreshConnectionRequest {
        tailnet_id,
        connection_id,
    };
    let rpc = "identity.v1.ConnectionService/RefreshConnection";
    calls
        .ask::<_, RefreshConnectionResponse>(rpc, request)
        .await;
    let request = UnlinkUserRequest {
        tailnet_id,
        user_id,
        connection_id,
        subject,
    };
    let rpc = "identity.v1.ConnectionService/UnlinkUser";
    calls.ask::<_, UnlinkUserResponse>(rpc, request).await;
    change_scim_tokens(tailnet_id, connection_id, calls).await;
    let saml = Provider::Saml(SamlProvider::default());
    let saml = create_connection(services, calls, "saml", saml).await;
    let request = RollConnectionKeyRequest {
        tailnet_id,
        connection_id: saml.id,
        finish: false,
    };
    let rpc = "identity.v1.ConnectionService/RollConnectionKey";
    calls
        .ask::<_, RollConnectionKeyResponse>(rpc, request)
        .await;
    let request = DeleteConnectionRequest {
        tailnet_id,
        connection_id,
    };
    let rpc = "identity.v1.ConnectionService/DeleteConnection";
    calls.ask::<_, DeleteConnectionResponse>(rpc, request).await;
    change_conditions(services, calls).await;
}

async fn change_conditions(services: &TestServices, calls: &mut RepeatedCalls) {
    let tailnet_id = services.tailnet;
    let request = AddConditionRequest {
        condition: Some(Condition {
            tailnet_id,
            scope: ConditionScope::Everyone.into(),
            amr: vec!["mfa".to_owned()],
            ..Condition::default()
        }),
    };
    let rpc = "identity.v1.ConditionService/AddCondition";
    let added: AddConditionResponse = calls.ask(rpc, request).await;
    let request = RemoveConditionRequest {
        tailnet_id,
        condition_id: added.condition.unwrap().id,
    };
    let rpc = "identity.v1.ConditionService/RemoveCondition";
    calls.ask::<_, RemoveConditionResponse>(rpc, request).await;
}

async fn change_scim_tokens(tailnet_id: u64, connection_id: u64, calls: &mut RepeatedCalls) {
    let request = CreateScimTokenRequest {
        tailnet_id,
        connection_id,
        ..CreateScimTokenRequest::default()
    };
    let rpc = "identity.v1.ScimTokenService/CreateScimToken";
    let made: CreateScimTokenResponse = calls.ask(rpc, request).await;
    let id = made.token.unwrap().id;
    let rpc = "identity.v1.ScimTokenService/RevokeScimToken";
    let request = RevokeScimTokenRequest { tailnet_id, id };
    calls.ask::<_, RevokeScimTokenResponse>(rpc, request).await;
}
