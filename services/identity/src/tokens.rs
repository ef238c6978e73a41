//! Whose a token is, as of now; and access tokens for OAuth clients.
//!
//! API keys and access tokens are rows of one table, sessions of their own. Everything behind, in all services, looks at the
//! [`TokenHolder`] alone.

use bowline_clock::random_bytes;
use bowline_db::{ChangeLog, ReadTransaction};
use bowline_ids::TailnetId;
use bowline_proto::{
    access::Scopes,
    identity::v1::{
        IssueAccessTokenRequest, IssueAccessTokenResponse, OAuthClient, TokenHolder,
        TokenKind as HolderKind,
    },
    time::to_timestamp,
};
use bowline_tokens::{PresentedToken, TokenKind};
use chrono::{DateTime, TimeDelta, Utc};
use prost::Message as _;
use serde_json::json;

use crate::{
    credentials::{read_api_key, read_client},
    domain::{credential, session::acting_user},
    error::IdentityError,
    fields::read_tailnet_id,
    sessions::require_session,
    store::{
        self,
        credentials::{self as rows, CredentialRow},
    },
};

/// How exactly it is known when a token was used last: a token that is used all the time is written once in this time.
const USE_PRECISION: TimeDelta = TimeDelta::minutes(1);
/// The most access tokens of a client that have not ended.
const MOST_ACCESS_TOKENS: i64 = 1000;

const NO_TOKEN: IdentityError = IdentityError::NoToken(
    "this is no token that is in use: make one with `bowline api-keys create`",
);
const ENDED: IdentityError =
    IdentityError::NoToken("the token has ended: make another, or ask who gave it to you");
const SUSPENDED: IdentityError = IdentityError::NoToken("the token's user is suspended");
const NO_CLIENT: IdentityError = IdentityError::NoToken("this is no secret of an OAuth client");

/// Says whose tokens are. Clones share it.
#[derive(Clone, Debug)]
pub struct TokenAuthenticator {
    log: ChangeLog,
}

impl TokenAuthenticator {
    pub(crate) fn new(log: ChangeLog) -> Self {
        Self { log }
    }

    /// Returns whose a token is and what it may do.
    pub(crate) async fn authenticate(&self, text: &str) -> Result<TokenHolder, IdentityError> {
        let presented = PresentedToken::parse(text).ok_or(NO_TOKEN)?;
        if presented.kind() == TokenKind::Session {
            return self.authenticate_session(text).await;
        }
        let now = self.log.database().now().await?;
        let mut read = self.log.database().begin_read().await?;
        let (row, holder) = Self::find_holder(&mut read, presented, now).await?;
        drop(read);
        record_use(&self.log, row, now).await;
        Ok(holder)
    }

    /// A person in a browser may do all that the role allows.
    async fn authenticate_session(&self, text: &str) -> Result<TokenHolder, IdentityError> {
        let found = require_session(&self.log, text).await;
        let (row, user) = found.map_err(|error| match error {
            IdentityError::NotFound(_) => ENDED,
            other => other,
        })?;
        Ok(TokenHolder {
            kind: HolderKind::Session.into(),
            tailnet_id: row.session.tailnet_id,
            user: Some(acting_user(&row.session, user)),
            credential_id: row.session.id,
            scopes: vec!["all".to_owned()],
            tags: Vec::new(),
            expires_at: row.session.expires_at,
        })
    }

    async fn find_holder(
        read: &mut ReadTransaction,
        presented: PresentedToken<'_>,
        now: DateTime<Utc>,
    ) -> Result<(CredentialRow, TokenHolder), IdentityError> {
        match presented.kind() {
            TokenKind::ApiKey => {
                let row = find_live(read, presented, now).await?;
                let key = read_api_key(&row)?;
                let user = store::find_user(&mut **read, row.tailnet_id, row.user_id).await?;
                let user = user.ok_or(ENDED)?;
                if user.suspended {
                    return Err(SUSPENDED);
                }
                let holder = TokenHolder {
                    kind: HolderKind::ApiKey.into(),
                    credential_id: key.id,
                    tailnet_id: key.tailnet_id,
                    user: Some(user),
                    scopes: key.scopes,
                    tags: Vec::new(),
                    expires_at: key.expires_at,
                };
                Ok((row, holder))
            }
            TokenKind::AccessToken => {
                let row = find_live(read, presented, now).await?;
                let client = rows::find_credential(&mut **read, &row.client_id).await?;
                if client.is_none_or(|client| client.revoked_at.is_some()) {
                    return Err(ENDED);
                }
                let granted = read_client(&row)?;
                let holder = TokenHolder {
                    kind: HolderKind::AccessToken.into(),
                    credential_id: row.client_id.clone(),
                    tailnet_id: row.tailnet_id,
                    user: None,
                    scopes: granted.scopes,
                    tags: granted.tags,
                    expires_at: row.expires_at.map(to_timestamp),
                };
                Ok((row, holder))
            }
            _ => Err(NO_TOKEN),
        }
    }

    /// Gives an OAuth client an access token.
    pub(crate) async fn issue_access_token(
        &self,
        request: IssueAccessTokenRequest,
    ) -> Result<IssueAccessTokenResponse, IdentityError> {
        let presented = PresentedToken::parse_as(TokenKind::OAuthClient, &request.client_secret);
        let presented = presented.ok_or(NO_CLIENT)?;
        let now = self.log.database().now().await?;
        let mut read = self.log.database().begin_read().await?;
        let row = find_live(&mut read, presented, now).await;
        drop(read);
        let client = read_client(&row.map_err(|error| match error {
            IdentityError::NoToken(_) => NO_CLIENT,
            other => other,
        })?)?;
        let granted = grant(&client, &request)?;
        let tailnet = read_tailnet_id(client.tailnet_id)?;
        let token = TokenKind::AccessToken.make_token(random_bytes(), random_bytes());
        let scopes = granted.scopes.clone();
        self.insert_access_token(tailnet, granted, token.id, token.hash)
            .await?;
        let lifetime = credential::ACCESS_TOKEN_LIFETIME.num_seconds();
        Ok(IssueAccessTokenResponse {
            access_token: token.text.to_string(),
            expires_in: u32::try_from(lifetime).unwrap_or(u32::MAX),
            scopes,
        })
    }

    async fn insert_access_token(
        &self,
        tailnet: TailnetId,
        granted: OAuthClient,
        id: String,
        hash: Vec<u8>,
    ) -> Result<(), IdentityError> {
        let actor = format!("oauth-client:{}", granted.id);
        let made = self.log.mutate(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let now = mutation.now();
                let on = mutation.connection();
                // Revoked since it was looked at.
                let client = rows::find_credential(&mut *on, &granted.id).await?;
                if client.is_none_or(|client| client.revoked_at.is_some()) {
                    return Err(NO_CLIENT);
                }
                if rows::count_live_of_client(on, &granted.id, now).await? >= MOST_ACCESS_TOKENS {
                    return Err(IdentityError::TooManyTokens);
                }
                let row = CredentialRow {
                    id: id.clone(),
                    kind: TokenKind::AccessToken,
                    tailnet_id: tailnet.get(),
                    user_id: 0,
                    client_id: granted.id.clone(),
                    hash,
                    body: granted.encode_to_vec(),
                    created_at: now,
                    expires_at: Some(now + credential::ACCESS_TOKEN_LIFETIME),
                    revoked_at: None,
                    last_used_at: None,
                };
                rows::insert_credential(on, &row).await?;
                let ids = [granted.id.as_str(), ""];
                rows::record_use(on, ids, now, now - USE_PRECISION).await?;
                let detail = json!({ "scopes": granted.scopes, "tags": granted.tags });
                mutation.record_audit("access_token.create", id, &detail);
                Ok(())
            })
        });
        made.await?;
        Ok(())
    }
}

/// Records that a token was used, unless that was recorded a moment ago.
pub(crate) async fn record_use(log: &ChangeLog, row: CredentialRow, now: DateTime<Utc>) {
    let last = row.last_used_at;
    if last.is_some_and(|last| now - last < USE_PRECISION) {
        return;
    }
    let recorded = log.database().write(move |write| {
        Box::pin(async move {
            let now = write.now();
            let ids = [row.id.as_str(), row.client_id.as_str()];
            rows::record_use(write.connection(), ids, now, now - USE_PRECISION).await?;
            Ok::<_, IdentityError>(())
        })
    });
    if let Err(error) = recorded.await {
        tracing::warn!(%error, "the use of a token can not be recorded");
    }
}

/// Returns the row of a token, if the text proves it and it has not ended.
pub(crate) async fn find_live(
    read: &mut ReadTransaction,
    presented: PresentedToken<'_>,
    now: DateTime<Utc>,
) -> Result<CredentialRow, IdentityError> {
    let found = rows::find_credential(&mut **read, presented.id()).await?;
    let row = found.filter(|row| row.kind == presented.kind() && presented.matches(&row.hash));
    let row = row.ok_or(NO_TOKEN)?;
    let has_ended = row.revoked_at.is_some() || row.expires_at.is_some_and(|end| end <= now);
    if has_ended { Err(ENDED) } else { Ok(row) }
}

/// Returns the client as its token may act: with the scopes and tags that are asked for, or all that it has.
fn grant(
    client: &OAuthClient,
    request: &IssueAccessTokenRequest,
) -> Result<OAuthClient, IdentityError> {
    let own = credential::read_scopes(&client.scopes)?;
    let mut scopes = credential::read_scopes(&request.scopes)?;
    let missing: Scopes = scopes.without(&own);
    if !missing.is_empty() {
        let problem = format!("the client has not {missing}; it has {own}");
        return Err(IdentityError::invalid("scopes", problem));
    }
    if scopes.is_empty() {
        scopes = own;
    }
    let foreign = request.tags.iter().find(|tag| !client.tags.contains(tag));
    if let Some(tag) = foreign {
        let problem = format!("the client has not {tag}");
        return Err(IdentityError::invalid("tags", problem));
    }
    let tags = match request.tags.is_empty() {
        true => client.tags.clone(),
        false => request.tags.clone(),
    };
    Ok(OAuthClient {
        id: client.id.clone(),
        tailnet_id: client.tailnet_id,
        scopes: scopes.to_texts(),
        tags,
        ..OAuthClient::default()
    })
}
