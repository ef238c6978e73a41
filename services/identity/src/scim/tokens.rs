//! The tokens that providers bring users and groups with: made, listed and revoked.

use bowline_clock::random_bytes;
use bowline_db::{ChangeLog, DatabaseError, Mutation};
use bowline_ids::TailnetId;
use bowline_proto::{
    access::{Role, decisions},
    identity::v1::{
        Connection, CreateScimTokenRequest, CreateScimTokenResponse, RevokeScimTokenResponse,
        ScimToken,
    },
    time::to_timestamp,
};
use bowline_service_kit::Caller;
use bowline_tokens::TokenKind;
use prost::Message as _;
use serde_json::json;

use crate::{
    domain::{credential, scim::describe_token},
    error::IdentityError,
    store::{
        self,
        credentials::{self as rows, CredentialRow},
    },
};

/// The most tokens of a tailnet that were not revoked.
const MOST_TOKENS: i64 = 50;

/// Makes, lists and revokes tokens. Clones share it.
#[derive(Clone, Debug)]
pub struct ScimTokens {
    log: ChangeLog,
}

impl ScimTokens {
    pub(crate) fn new(log: ChangeLog) -> Self {
        Self { log }
    }

    /// Makes a token, and returns it with its text, which is not kept.
    pub(crate) async fn create_token(
        &self,
        tailnet: TailnetId,
        caller: Caller,
        wanted: CreateScimTokenRequest,
    ) -> Result<CreateScimTokenResponse, IdentityError> {
        credential::check_description(&wanted.description)?;
        let made = TokenKind::ScimToken.make_token(random_bytes(), random_bytes());
        let (id, hash) = (made.id, made.hash);
        let actor = caller.to_string();
        let creating = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let now = mutation.now();
                let on = mutation.connection();
                let found = store::connections::find_connection(&mut *on, wanted.connection_id);
                let own = found
                    .await?
                    .filter(|row| row.connection.tailnet_id == tailnet.get());
                let connection = own.ok_or(IdentityError::NotFound("connection"))?.connection;
                check_connection(&caller, &connection)?;
                let kind = TokenKind::ScimToken;
                if rows::count_live(on, tailnet.get(), kind, 0, now).await? >= MOST_TOKENS {
                    let text = "the tailnet has 50 SCIM tokens: revoke one first";
                    return Err(IdentityError::Refused(text));
                }
                let token = ScimToken {
                    id,
                    tailnet_id: tailnet.get(),
                    connection_id: connection.id,
                    description: wanted.description,
                    created_at: Some(to_timestamp(now)),
                    ..ScimToken::default()
                };
                let row = CredentialRow {
                    id: token.id.clone(),
                    kind,
                    tailnet_id: token.tailnet_id,
                    user_id: 0,
                    client_id: String::new(),
                    hash,
                    body: token.encode_to_vec(),
                    created_at: now,
                    expires_at: None,
                    revoked_at: None,
                    last_used_at: None,
                };
                rows::insert_credential(on, &row).await?;
                let detail = describe_token(&token, &connection);
                mutation.record_audit("scim_token.create", token.id.clone(), &detail);
                Ok::<_, IdentityError>(CreateScimTokenResponse {
                    token: Some(token),
                    secret: made.text.to_string(),
                })
            })
        });
        Ok(creating.await?.0)
    }

    /// Returns the tokens of a tailnet, newest first.
    pub(crate) async fn list_tokens(
        &self,
        tailnet: TailnetId,
    ) -> Result<Vec<ScimToken>, IdentityError> {
        let reader = self.log.database().reader();
        let rows = rows::list_credentials(reader, tailnet.get(), TokenKind::ScimToken).await?;
        rows.iter().map(read_token).collect()
    }

    /// Revokes a token; again changes nothing.
    pub(crate) async fn revoke_token(
        &self,
        tailnet: TailnetId,
        actor: String,
        id: String,
    ) -> Result<RevokeScimTokenResponse, IdentityError> {
        let revoking = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let found = rows::find_credential(&mut *mutation.connection(), &id).await?;
                let own = found.filter(|row| {
                    row.kind == TokenKind::ScimToken && row.tailnet_id == tailnet.get()
                });
                let row = own.ok_or(IdentityError::NotFound("SCIM token"))?;
                revoke(mutation, &row).await?;
                let revoked = rows::find_credential(&mut *mutation.connection(), &id).await?;
                let token = Some(read_token(&revoked.unwrap_or(row))?);
                Ok::<_, IdentityError>(RevokeScimTokenResponse { token })
            })
        });
        Ok(revoking.await?.0)
    }
}

/// Refuses a connection that has no provider, and a caller who may not do all that the token does: who has it decides who is in
/// the groups that give roles, and ends everybody but the owner.
fn check_connection(caller: &Caller, connection: &Connection) -> Result<(), IdentityError> {
    if connection.is_local() {
        return Err(IdentityError::Refused(
            "people of a local connection are invited, and no provider brings them: choose a connection to a provider",
        ));
    }
    caller.check(|by| decisions::may_end_user(by, 0, Role::Admin))?;
    for mapped in &connection.role_groups {
        caller.check(|by| decisions::may_set_role(by, 0, Role::Unspecified, mapped.role()))?;
    }
    Ok(())
}

/// Revokes a token, unless it is revoked.
async fn revoke(mutation: &mut Mutation, row: &CredentialRow) -> Result<(), IdentityError> {
    if row.revoked_at.is_some() {
        return Ok(());
    }
    let now = mutation.now();
    rows::revoke_credential(mutation.connection(), &row.id, now).await?;
    let detail = json!({ "last_used_at": row.last_used_at.map(|time| time.to_rfc3339()) });
    mutation.record_audit("scim_token.revoke", row.id.clone(), &detail);
    Ok(())
}

/// Revokes the tokens of a connection that is gone.
pub(super) async fn revoke_tokens_of(
    mutation: &mut Mutation,
    connection_id: u64,
) -> Result<(), IdentityError> {
    let tailnet = mutation.tailnet().get();
    let on = mutation.connection();
    let tokens = rows::list_credentials(&mut *on, tailnet, TokenKind::ScimToken).await?;
    for row in tokens {
        if read_token(&row)?.connection_id == connection_id {
            revoke(mutation, &row).await?;
        }
    }
    Ok(())
}

/// Returns the token of a row.
pub(super) fn read_token(row: &CredentialRow) -> Result<ScimToken, IdentityError> {
    let token = ScimToken::decode(&*row.body).map_err(|_| {
        IdentityError::from(DatabaseError::Inconsistent {
            table: "credentials",
            row: "its body does not decode".to_owned(),
        })
    })?;
    Ok(ScimToken {
        last_used_at: row.last_used_at.map(to_timestamp),
        revoked_at: row.revoked_at.map(to_timestamp),
        ..token
    })
}
