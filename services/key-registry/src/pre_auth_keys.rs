//! Pre-auth keys, as administrators see and change them.

use bowline_clock::random_bytes;
use bowline_db::ChangeLog;
use bowline_ids::TailnetId;
use bowline_proto::{access::decisions, key_registry::v1::PreAuthKey};
use bowline_service_kit::Caller;
use bowline_tokens::{NewToken, TokenKind};
use chrono::TimeDelta;
use serde_json::json;

use crate::{
    asked_services::AskedServices,
    domain::{self, tags},
    error::RegistryError,
    fields::read_tailnet_id,
    nodes::check_tags,
    store::pre_auth_keys,
};

/// How long a key lives when nobody says.
const DEFAULT_LIFETIME: TimeDelta = TimeDelta::days(90);

/// Makes, lists and revokes pre-auth keys. Clones share it.
#[derive(Clone, Debug)]
pub struct PreAuthKeys {
    log: ChangeLog,
    services: AskedServices,
}

impl PreAuthKeys {
    pub(crate) fn new(log: ChangeLog, services: AskedServices) -> Self {
        Self { log, services }
    }

    /// Makes a key, and returns it with its text, which is not kept.
    pub(crate) async fn create_key(
        &self,
        caller: Caller,
        wanted: PreAuthKey,
    ) -> Result<(PreAuthKey, String), RegistryError> {
        let tailnet = read_tailnet_id(wanted.tailnet_id)?;
        self.check_owner(&wanted).await?;
        let tags = tags::canonical_tags(wanted.tags.clone())?;
        caller.check(|by| decisions::may_make_pre_auth_key(by, wanted.user_id, &tags))?;
        check_tags(&self.services, &caller, wanted.tailnet_id, &tags).await?;
        let NewToken { id, hash, text } =
            TokenKind::PreAuthKey.make_token(random_bytes(), random_bytes());
        let (key, _) = self
            .log
            .mutate(tailnet, caller.to_string(), move |mutation| {
                Box::pin(async move {
                    let now = mutation.now();
                    let ends = wanted
                        .expires_at
                        .and_then(domain::from_timestamp)
                        .unwrap_or(now + DEFAULT_LIFETIME);
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
        Ok((key, text.to_string()))
    }

    /// Returns the keys of a tailnet, newest first.
    pub(crate) async fn list_keys(
        &self,
        tailnet: TailnetId,
    ) -> Result<Vec<PreAuthKey>, RegistryError> {
        let reader = self.log.database().reader();
        Ok(pre_auth_keys::of_tailnet(reader, tailnet.get()).await?)
    }

    /// Revokes a key; again changes nothing.
    pub(crate) async fn revoke_key(
        &self,
        actor: String,
        tailnet: TailnetId,
        id: String,
    ) -> Result<PreAuthKey, RegistryError> {
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
        Ok(key)
    }

    /// Checks that a key to be names a user who is there, or gives tags.
    async fn check_owner(&self, key: &PreAuthKey) -> Result<(), RegistryError> {
        let is_found = if key.user_id == 0 {
            if key.tags.is_empty() {
                return Err(RegistryError::invalid(
                    "user_id",
                    "a key without tags belongs to a user",
                ));
            }
            let found = self.services.resolve_tailnet(key.tailnet_id).await?;
            found.is_some()
        } else {
            let found = self.services.resolve_user(key.tailnet_id, key.user_id);
            found.await?.is_some()
        };
        if is_found {
            return Ok(());
        }
        Err(RegistryError::NotFound("user or tailnet"))
    }
}
