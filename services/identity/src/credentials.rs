//! API keys of users and OAuth clients of tailnets: made, listed and revoked. Whose a token is decides [`tokens`](crate::tokens).

use bowline_clock::random_bytes;
use bowline_db::{ChangeLog, DatabaseError, Mutation};
use bowline_ids::TailnetId;
use bowline_proto::{
    access::{Scopes, decisions},
    identity::v1::{
        ApiKey, CreateApiKeyRequest, CreateApiKeyResponse, CreateOAuthClientRequest,
        CreateOAuthClientResponse, OAuthClient, RevokeApiKeyResponse, RevokeOAuthClientResponse,
    },
    time::to_timestamp,
};
use bowline_service_kit::Caller;
use bowline_tokens::TokenKind;
use prost::Message as _;
use serde_json::json;

use crate::{
    domain::credential,
    error::IdentityError,
    store::credentials::{self as store, CredentialRow},
    tailnets::require_tailnet,
    users::require_user,
};

/// The most API keys of a user, and OAuth clients of a tailnet, that have not ended.
const MOST_KEYS: i64 = 100;
const MOST_CLIENTS: i64 = 200;

/// Makes, lists and revokes credentials. Clones share it.
#[derive(Clone, Debug)]
pub struct ApiCredentials {
    log: ChangeLog,
}

impl ApiCredentials {
    pub(crate) fn new(log: ChangeLog) -> Self {
        Self { log }
    }

    /// Makes an API key, and returns it with its text, which is not kept.
    pub(crate) async fn create_api_key(
        &self,
        tailnet: TailnetId,
        caller: Caller,
        wanted: CreateApiKeyRequest,
    ) -> Result<CreateApiKeyResponse, IdentityError> {
        let lifetime = credential::api_key_lifetime(wanted.days)?;
        credential::check_description(&wanted.description)?;
        let mut scopes = credential::read_scopes(&wanted.scopes)?;
        if scopes.is_empty() {
            scopes = Scopes::everything();
        }
        let user_id = match (wanted.user_id, caller.principal()) {
            (0, Some(by)) => by.user_id().unwrap_or(0),
            (id, _) => id,
        };
        caller.check(|by| decisions::may_make_api_key(by, user_id, &scopes))?;
        let token = TokenKind::ApiKey.make_token(random_bytes(), random_bytes());
        let (id, hash) = (token.id, token.hash);
        let (answer, _) = self
            .log
            .mutate_once(tailnet, caller.to_string(), move |mutation| {
                Box::pin(async move {
                    let now = mutation.now();
                    let on = mutation.connection();
                    let user = require_user(on, tailnet, user_id).await?;
                    let kind = TokenKind::ApiKey;
                    if store::count_live(on, tailnet.get(), kind, user_id, now).await? >= MOST_KEYS
                    {
                        let text = "the user has 100 API keys: revoke one first";
                        return Err(IdentityError::Refused(text));
                    }
                    let ends = now + lifetime;
                    let key = ApiKey {
                        id,
                        tailnet_id: tailnet.get(),
                        user_id,
                        description: wanted.description,
                        scopes: scopes.to_texts(),
                        created_at: Some(to_timestamp(now)),
                        expires_at: Some(to_timestamp(ends)),
                        ..ApiKey::default()
                    };
                    let row = CredentialRow {
                        id: key.id.clone(),
                        kind,
                        tailnet_id: key.tailnet_id,
                        user_id,
                        client_id: String::new(),
                        hash,
                        body: key.encode_to_vec(),
                        created_at: now,
                        expires_at: Some(ends),
                        revoked_at: None,
                        last_used_at: None,
                    };
                    store::insert_credential(on, &row).await?;
                    let detail = json!({
                        "user": user.login_name,
                        "scopes": key.scopes,
                        "description": key.description,
                        "expires_at": ends.to_rfc3339(),
                    });
                    mutation.record_audit("api_key.create", key.id.clone(), &detail);
                    Ok::<_, IdentityError>(CreateApiKeyResponse {
                        key: Some(key),
                        secret: token.text.to_string(),
                    })
                })
            })
            .await?;
        Ok(answer)
    }

    /// Returns the API keys of a tailnet, newest first.
    pub(crate) async fn list_api_keys(
        &self,
        tailnet: TailnetId,
    ) -> Result<Vec<ApiKey>, IdentityError> {
        let reader = self.log.database().reader();
        let rows = store::list_credentials(reader, tailnet.get(), TokenKind::ApiKey).await?;
        rows.iter().map(read_api_key).collect()
    }

    /// Revokes an API key; again changes nothing.
    pub(crate) async fn revoke_api_key(
        &self,
        tailnet: TailnetId,
        caller: Caller,
        id: String,
    ) -> Result<RevokeApiKeyResponse, IdentityError> {
        let revoking = self
            .log
            .mutate_once(tailnet, caller.to_string(), move |mutation| {
                Box::pin(async move {
                    let row = revoke(mutation, &id, TokenKind::ApiKey).await?;
                    let key = Some(read_api_key(&row)?);
                    Ok::<_, IdentityError>(RevokeApiKeyResponse { key })
                })
            });
        Ok(revoking.await?.0)
    }

    /// Makes an OAuth client, and returns it with its secret, which is not kept.
    pub(crate) async fn create_client(
        &self,
        tailnet: TailnetId,
        caller: Caller,
        wanted: CreateOAuthClientRequest,
    ) -> Result<CreateOAuthClientResponse, IdentityError> {
        credential::check_description(&wanted.description)?;
        let scopes = credential::read_scopes(&wanted.scopes)?;
        let mut tags = wanted.tags;
        tags.sort();
        tags.dedup();
        credential::check_client(&scopes, &tags)?;
        caller.check(|by| decisions::may_make_client(by, &scopes, &tags))?;
        let token = TokenKind::OAuthClient.make_token(random_bytes(), random_bytes());
        let (id, hash) = (token.id, token.hash);
        let (answer, _) = self
            .log
            .mutate_once(tailnet, caller.to_string(), move |mutation| {
                Box::pin(async move {
                    let now = mutation.now();
                    let on = mutation.connection();
                    require_tailnet(on, tailnet).await?;
                    let kind = TokenKind::OAuthClient;
                    if store::count_live(on, tailnet.get(), kind, 0, now).await? >= MOST_CLIENTS {
                        let text = "the tailnet has 200 OAuth clients: revoke one first";
                        return Err(IdentityError::Refused(text));
                    }
                    let client = OAuthClient {
                        id,
                        tailnet_id: tailnet.get(),
                        description: wanted.description,
                        scopes: scopes.to_texts(),
                        tags,
                        created_at: Some(to_timestamp(now)),
                        ..OAuthClient::default()
                    };
                    let row = CredentialRow {
                        id: client.id.clone(),
                        kind,
                        tailnet_id: client.tailnet_id,
                        user_id: 0,
                        client_id: String::new(),
                        hash,
                        body: client.encode_to_vec(),
                        created_at: now,
                        expires_at: None,
                        revoked_at: None,
                        last_used_at: None,
                    };
                    store::insert_credential(on, &row).await?;
                    let detail = json!({
                        "scopes": client.scopes,
                        "tags": client.tags,
                        "description": client.description,
                    });
                    mutation.record_audit("oauth_client.create", client.id.clone(), &detail);
                    Ok::<_, IdentityError>(CreateOAuthClientResponse {
                        client: Some(client),
                        secret: token.text.to_string(),
                    })
                })
            })
            .await?;
        Ok(answer)
    }

    /// Returns the OAuth clients of a tailnet, newest first.
    pub(crate) async fn list_clients(
        &self,
        tailnet: TailnetId,
    ) -> Result<Vec<OAuthClient>, IdentityError> {
        let reader = self.log.database().reader();
        let rows = store::list_credentials(reader, tailnet.get(), TokenKind::OAuthClient).await?;
        rows.iter().map(read_client).collect()
    }

    /// Revokes an OAuth client with its access tokens; again changes nothing.
    pub(crate) async fn revoke_client(
        &self,
        tailnet: TailnetId,
        caller: Caller,
        id: String,
    ) -> Result<RevokeOAuthClientResponse, IdentityError> {
        let revoking = self
            .log
            .mutate_once(tailnet, caller.to_string(), move |mutation| {
                Box::pin(async move {
                    let row = revoke(mutation, &id, TokenKind::OAuthClient).await?;
                    let client = Some(read_client(&row)?);
                    Ok::<_, IdentityError>(RevokeOAuthClientResponse { client })
                })
            });
        Ok(revoking.await?.0)
    }
}

/// Revokes a credential of the mutation's tailnet, and returns it as it is then.
async fn revoke(
    mutation: &mut Mutation,
    id: &str,
    kind: TokenKind,
) -> Result<CredentialRow, IdentityError> {
    let (now, tailnet) = (mutation.now(), mutation.tailnet());
    let found = store::find_credential(&mut *mutation.connection(), id).await?;
    let found = found.filter(|row| row.kind == kind && row.tailnet_id == tailnet.get());
    let (what, action) = match kind {
        TokenKind::ApiKey => ("API key", "api_key.revoke"),
        _ => ("OAuth client", "oauth_client.revoke"),
    };
    let row = found.ok_or(IdentityError::NotFound(what))?;
    if row.revoked_at.is_some() {
        return Ok(row);
    }
    store::revoke_credential(mutation.connection(), id, now).await?;
    let detail = json!({ "last_used_at": row.last_used_at.map(|time| time.to_rfc3339()) });
    mutation.record_audit(action, id, &detail);
    let revoked = store::find_credential(&mut *mutation.connection(), id).await?;
    Ok(revoked.unwrap_or(row))
}

/// Returns the API key of a row.
pub(crate) fn read_api_key(row: &CredentialRow) -> Result<ApiKey, IdentityError> {
    Ok(ApiKey {
        last_used_at: row.last_used_at.map(to_timestamp),
        revoked_at: row.revoked_at.map(to_timestamp),
        // The user that made it may be another now.
        user_id: row.user_id,
        ..ApiKey::decode(&*row.body).map_err(|_| undecodable())?
    })
}

/// Returns the OAuth client of a row, or what an access token took over from its client.
pub(crate) fn read_client(row: &CredentialRow) -> Result<OAuthClient, IdentityError> {
    Ok(OAuthClient {
        last_used_at: row.last_used_at.map(to_timestamp),
        revoked_at: row.revoked_at.map(to_timestamp),
        ..OAuthClient::decode(&*row.body).map_err(|_| undecodable())?
    })
}

fn undecodable() -> IdentityError {
    IdentityError::from(DatabaseError::Inconsistent {
        table: "credentials",
        row: "its body does not decode".to_owned(),
    })
}
