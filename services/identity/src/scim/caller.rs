//! Whose a provider's token is.

use bowline_db::Mutation;
use bowline_ids::TailnetId;
use bowline_proto::identity::v1::Connection;
use bowline_tokens::{PresentedToken, TokenKind};

use super::{ScimProvisioning, tokens::read_token};
use crate::{
    error::IdentityError,
    fields::read_tailnet_id,
    store,
    tokens::{find_live, record_use},
};

const NO_TOKEN: IdentityError = IdentityError::NoToken(
    "this is no SCIM token that is in use: make one with `bowline scim-tokens create`",
);

/// The provider that calls.
#[derive(Clone, Debug)]
pub(super) struct ScimCaller {
    /// Its token.
    token_id: String,
    /// The tailnet of the token.
    pub(super) tailnet: TailnetId,
    /// The connection to it.
    pub(super) connection_id: u64,
    /// Who that is in audit entries.
    pub(super) actor: String,
}

impl ScimProvisioning {
    /// Returns whose a token is.
    pub(super) async fn authenticate(&self, token: &str) -> Result<ScimCaller, IdentityError> {
        let presented = PresentedToken::parse_as(TokenKind::ScimToken, token).ok_or(NO_TOKEN)?;
        let now = self.log.database().now().await?;
        let mut read = self.log.database().begin_read().await?;
        let row = find_live(&mut read, presented, now).await;
        drop(read);
        let row = row.map_err(|error| match error {
            IdentityError::NoToken(_) => NO_TOKEN,
            other => other,
        })?;
        let token = read_token(&row)?;
        let caller = ScimCaller {
            token_id: row.id.clone(),
            tailnet: read_tailnet_id(row.tailnet_id)?,
            connection_id: token.connection_id,
            actor: format!("scim-token:{}", row.id),
        };
        record_use(&self.log, row, now).await;
        Ok(caller)
    }
}

/// Returns the connection of a caller, as it is now. Refuses a token that was revoked since it was looked at.
pub(super) async fn require_connection(
    mutation: &mut Mutation,
    caller: &ScimCaller,
) -> Result<Connection, IdentityError> {
    let on = mutation.connection();
    let token = store::credentials::find_credential(&mut *on, &caller.token_id).await?;
    if token.is_none_or(|token| token.revoked_at.is_some()) {
        return Err(NO_TOKEN);
    }
    let found = store::connections::find_connection(on, caller.connection_id).await?;
    let own = found.filter(|row| row.connection.tailnet_id == caller.tailnet.get());
    Ok(own.ok_or(NO_TOKEN)?.connection)
}
