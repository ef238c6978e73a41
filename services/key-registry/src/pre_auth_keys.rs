//! Pre-auth keys, as administrators see and change them.

use bowline_clock::random_bytes;
use bowline_db::ChangeLog;
use bowline_ids::TailnetId;
use bowline_proto::{
    access::decisions,
    identity::v1::{PreAuthKeyRules, Tailnet},
    key_registry::v1::{CreatePreAuthKeyResponse, PreAuthKey, RevokePreAuthKeyResponse},
};
use bowline_service_kit::Caller;
use bowline_tokens::{NewToken, TokenKind};
use chrono::TimeDelta;
use serde_json::json;

use crate::{
    asked_services::AskedServices,
    domain::{self, key_policy, tags},
    error::RegistryError,
    fields::read_tailnet_id,
    nodes::check_tags,
    store::pre_auth_keys,
};

/// How long a key lives when nobody says.
const DEFAULT_LIFETIME: TimeDelta = TimeDelta::days(90);
/// From this schema level on every process keeps and heeds the limits that a key has of its own.
const KEY_LIMITS_LEVEL: u32 = 2;

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

    /// Makes a key, which lives so long or ends when it says, and returns it with its text, which is not kept.
    pub(crate) async fn create_key(
        &self,
        caller: Caller,
        wanted: PreAuthKey,
        life: Option<TimeDelta>,
    ) -> Result<CreatePreAuthKeyResponse, RegistryError> {
        let tailnet = read_tailnet_id(wanted.tailnet_id)?;
        let policy = self.check_owner(&wanted).await?.key_policy;
        let rules = policy.and_then(|policy| policy.pre_auth_keys);
        let rules = rules.unwrap_or_default();
        let wanted = self.normalize_key(wanted, &rules)?;
        let tags = &wanted.tags;
        caller.check(|by| decisions::may_make_pre_auth_key(by, wanted.user_id, tags))?;
        check_tags(&self.services, &caller, wanted.tailnet_id, tags).await?;
        let NewToken { id, hash, text } =
            TokenKind::PreAuthKey.make_token(random_bytes(), random_bytes());
        let (answer, _) = self
            .log
            .mutate_once(tailnet, caller.to_string(), move |mutation| {
                Box::pin(async move {
                    let now = mutation.now();
                    let ends = match life {
                        Some(life) => Some(now + life),
                        None => wanted.expires_at.and_then(domain::from_timestamp),
                    };
                    let ends = key_policy::choose_end(&rules, ends, DEFAULT_LIFETIME, now)?;
                    if ends <= now {
                        return Err(RegistryError::invalid(
                            "expires_at",
                            "lies in the past: take a later time, or leave it out",
                        ));
                    }
                    let key = PreAuthKey {
                        id,
                        created_at: Some(domain::to_timestamp(now)),
                        expires_at: Some(domain::to_timestamp(ends)),
                        uses: 0,
                        revoked_at: None,
                        rested_at: None,
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
                        "max_uses": key.max_uses,
                        "max_uses_per_hour": key.max_uses_per_hour,
                        "source_networks": key.source_networks,
                        "description": key.description,
                    });
                    mutation.record_audit("pre_auth_key.create", key.id.clone(), &detail);
                    Ok(CreatePreAuthKeyResponse {
                        key: Some(key),
                        secret: text.to_string(),
                    })
                })
            })
            .await?;
        Ok(answer)
    }

    /// Checks what a key to be shall do, and writes it in one form.
    fn normalize_key(
        &self,
        mut key: PreAuthKey,
        rules: &PreAuthKeyRules,
    ) -> Result<PreAuthKey, RegistryError> {
        key.tags = tags::canonical_tags(key.tags)?;
        key_policy::normalize_limits(&mut key)?;
        let has_limits =
            key.max_uses != 0 || key.max_uses_per_hour != 0 || !key.source_networks.is_empty();
        if has_limits {
            let level = self.log.database().require_level(KEY_LIMITS_LEVEL);
            level.map_err(RegistryError::refused)?;
        }
        key_policy::check_new_key(rules, &key)?;
        Ok(key)
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
    ) -> Result<RevokePreAuthKeyResponse, RegistryError> {
        let (answer, _) = self
            .log
            .mutate_once(tailnet, actor, move |mutation| {
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
                    Ok::<_, RegistryError>(RevokePreAuthKeyResponse { key: Some(key) })
                })
            })
            .await?;
        Ok(answer)
    }

    /// Checks that a key to be names a user who is there, or gives tags; returns its tailnet.
    async fn check_owner(&self, key: &PreAuthKey) -> Result<Tailnet, RegistryError> {
        let found = match key.user_id {
            0 if key.tags.is_empty() => {
                let problem = "a key without tags belongs to a user: name one, or give tags";
                return Err(RegistryError::invalid("user_id", problem));
            }
            0 => self.services.resolve_tailnet(key.tailnet_id).await?,
            user_id => {
                let found = self.services.resolve_user(key.tailnet_id, user_id).await?;
                found.map(|found| found.tailnet)
            }
        };
        found.ok_or(RegistryError::NotFound("user or tailnet"))
    }
}
