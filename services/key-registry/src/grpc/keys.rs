//! Pre-auth keys.

use bowline_clock::random_bytes;
use bowline_proto::{
    identity::v1::{
        ResolveTailnetRequest, ResolveUserRequest, identity_service_client::IdentityServiceClient,
    },
    key_registry::v1::{
        CreatePreAuthKeyRequest, CreatePreAuthKeyResponse, ListPreAuthKeysRequest,
        ListPreAuthKeysResponse, PreAuthKey, RevokePreAuthKeyRequest, RevokePreAuthKeyResponse,
        pre_auth_key_service_server::PreAuthKeyService,
    },
    policy::v1::JudgeNodeRequest,
};
use bowline_service_kit::Caller;
use chrono::TimeDelta;
use serde_json::json;
use tonic::{Request, Response, Status};

use crate::{
    KeyRegistry,
    domain::{self, pre_auth_key, tags},
    error::RegistryError,
    registration::read_tailnet_id,
    store::pre_auth_keys,
};

/// How long a key lives when nobody says.
const LIFETIME: TimeDelta = TimeDelta::days(90);

#[tonic::async_trait]
impl PreAuthKeyService for KeyRegistry {
    async fn create_pre_auth_key(
        &self,
        request: Request<CreatePreAuthKeyRequest>,
    ) -> Result<Response<CreatePreAuthKeyResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let wanted = request.into_inner().key.unwrap_or_default();
        let tailnet = read_tailnet_id(wanted.tailnet_id)?;
        self.check_owner(&wanted).await?;
        let tags = tags::canonical_tags(wanted.tags.clone())?;
        self.check_tags(wanted.tailnet_id, &tags).await?;
        let (id, text) = pre_auth_key::format_key(random_bytes(), random_bytes());
        let hash = pre_auth_key::hash_key(&text);
        let (key, _) = self
            .log
            .mutate(tailnet, actor, move |mutation| {
                Box::pin(async move {
                    let now = mutation.now();
                    let ends = wanted
                        .expires_at
                        .and_then(domain::from_timestamp)
                        .unwrap_or(now + LIFETIME);
                    if ends <= now {
                        return Err(RegistryError::invalid("expires_at", "lies in the past"));
                    }
                    let key = PreAuthKey {
                        id,
                        tags,
                        created_at: Some(domain::to_timestamp(now)),
                        expires_at: Some(domain::to_timestamp(ends)),
                        uses: 0,
                        revoked_at: None,
                        ..wanted
                    };
                    pre_auth_keys::insert_key(mutation.connection(), &key, hash).await?;
                    let detail = json!({
                        "user": key.user_id,
                        "tags": key.tags,
                        "reusable": key.reusable,
                        "ephemeral": key.ephemeral,
                        "pre_approved": key.pre_approved,
                        "expires_at": ends.to_rfc3339(),
                        "description": key.description,
                    });
                    mutation.record_audit("pre_auth_key.create", key.id.clone(), &detail);
                    Ok(key)
                })
            })
            .await?;
        Ok(Response::new(CreatePreAuthKeyResponse {
            key: Some(key),
            secret: text,
        }))
    }

    async fn list_pre_auth_keys(
        &self,
        request: Request<ListPreAuthKeysRequest>,
    ) -> Result<Response<ListPreAuthKeysResponse>, Status> {
        let tailnet = read_tailnet_id(request.into_inner().tailnet_id)?;
        let keys = pre_auth_keys::of_tailnet(self.log.database().reader(), tailnet.get())
            .await
            .map_err(RegistryError::from)?;
        Ok(Response::new(ListPreAuthKeysResponse { keys }))
    }

    async fn revoke_pre_auth_key(
        &self,
        request: Request<RevokePreAuthKeyRequest>,
    ) -> Result<Response<RevokePreAuthKeyResponse>, Status> {
        let actor = Caller::of(&request)?.to_string();
        let RevokePreAuthKeyRequest {
            tailnet_id: tailnet,
            id,
        } = request.into_inner();
        let tailnet = read_tailnet_id(tailnet)?;
        let (key, _) = self
            .log
            .mutate(tailnet, actor, move |mutation| {
                Box::pin(async move {
                    let found = pre_auth_keys::by_id(mutation.connection(), &id).await?;
                    let found = found.filter(|(key, _)| key.tailnet_id == tailnet.get());
                    let (mut key, _) = found.ok_or(RegistryError::NotFound("pre-auth key"))?;
                    if key.revoked_at.is_none() {
                        key.revoked_at = Some(domain::to_timestamp(mutation.now()));
                        pre_auth_keys::update_key(mutation.connection(), &key).await?;
                        let detail = json!({
                            "user": key.user_id,
                            "tags": key.tags,
                            "uses": key.uses,
                            "description": key.description,
                        });
                        mutation.record_audit("pre_auth_key.revoke", id, &detail);
                    }
                    Ok::<_, RegistryError>(key)
                })
            })
            .await?;
        Ok(Response::new(RevokePreAuthKeyResponse { key: Some(key) }))
    }
}

impl KeyRegistry {
    /// Checks that the policy defines tags that an administrator gives.
    pub(super) async fn check_tags(
        &self,
        tailnet_id: u64,
        tags: &[String],
    ) -> Result<(), RegistryError> {
        if tags.is_empty() {
            return Ok(());
        }
        let question = JudgeNodeRequest {
            tailnet_id,
            requested_tags: tags.to_vec(),
            administrator: true,
            ..JudgeNodeRequest::default()
        };
        let refused = self.judge_node(question).await?.refused_tags;
        if refused.is_empty() {
            return Ok(());
        }
        Err(RegistryError::Refused(format!(
            "[{}] are no tags of the policy: define them under tagOwners first",
            refused.join(", ")
        )))
    }

    /// Checks that a key to be names a user who is there, or gives tags.
    async fn check_owner(&self, key: &PreAuthKey) -> Result<(), RegistryError> {
        let mut identity = IdentityServiceClient::new(self.peers.identity.clone());
        let answer = if key.user_id == 0 {
            if key.tags.is_empty() {
                return Err(RegistryError::invalid(
                    "user_id",
                    "a key without tags belongs to a user",
                ));
            }
            let question = ResolveTailnetRequest {
                tailnet_id: key.tailnet_id,
                name: String::new(),
            };
            identity.resolve_tailnet(question).await.map(drop)
        } else {
            let question = ResolveUserRequest {
                tailnet_id: key.tailnet_id,
                user_id: key.user_id,
            };
            identity.resolve_user(question).await.map(drop)
        };
        answer.map_err(|status| match status.code() {
            tonic::Code::NotFound => RegistryError::NotFound("user or tailnet"),
            _ => RegistryError::from_service("identity")(status),
        })
    }
}
