//! Passkeys of people: added in a session, listed and removed there, and used to log in.

use bowline_clock::random_bytes;
use bowline_db::ChangeLog;
use bowline_proto::{
    identity::v1::{FinishPasskeyRequest, Passkey, User},
    time::to_timestamp,
};
use chrono::{DateTime, Utc};
use serde_json::json;

use crate::{
    connections::Connections,
    domain::{person::refused, session},
    error::IdentityError,
    fields::read_tailnet_id,
    passkey_ceremony::PasskeyServer,
    sessions::require_browser_session,
    store::{self, passkeys::PasskeyRow},
};

/// The most passkeys of a user.
const MOST_OF_USER: usize = 20;

/// Serves passkeys. Clones share it.
#[derive(Clone)]
pub struct Passkeys {
    log: ChangeLog,
    connections: Connections,
}

/// Where the challenge for a new passkey is kept.
pub(crate) fn ceremony_place(session_id: &str) -> String {
    format!("sessions/{session_id}")
}

impl Passkeys {
    pub(crate) fn new(log: ChangeLog, connections: Connections) -> Self {
        Self { log, connections }
    }

    /// Begins to add a passkey to the user of a session. Returns what the browser needs.
    pub(crate) async fn begin_passkey(
        &self,
        session_secret: &str,
        origin: &str,
    ) -> Result<String, IdentityError> {
        let (session, user) = require_browser_session(&self.log, session_secret).await?;
        self.connections
            .require_local(read_tailnet_id(user.tailnet_id)?)
            .await?;
        let known = self.list_rows(&user).await?;
        if known.len() >= MOST_OF_USER {
            return Err(refused("You have 20 passkeys. Remove one first."));
        }
        let server = PasskeyServer::new(origin)?;
        let keys = self.connections.sealing_keys()?;
        let begun =
            server.begin_registration(keys, &ceremony_place(&session.session.id), &user, &known)?;
        let id = session.session.id;
        let kept = self.log.database().write(|write| {
            Box::pin(async move {
                let on = write.connection();
                Ok::<_, IdentityError>(store::sessions::put_ceremony(on, &id, begun.sealed).await?)
            })
        });
        kept.await?;
        Ok(begun.options)
    }

    /// Adds the passkey that the browser has made.
    pub(crate) async fn finish_passkey(
        &self,
        request: FinishPasskeyRequest,
    ) -> Result<Passkey, IdentityError> {
        let secret = &request.session_secret;
        let (session, user) = require_browser_session(&self.log, secret).await?;
        let name = session::passkey_name(&request.name)?;
        let sealed = session.ceremony.clone();
        let sealed = sealed.ok_or_else(|| refused("This page is too old. Try again."))?;
        let server = PasskeyServer::new(&request.origin)?;
        let keys = self.connections.sealing_keys()?;
        let (credential_id, credential) = server.finish_registration(
            keys,
            &ceremony_place(&session.session.id),
            &sealed,
            &request.response,
        )?;
        let tailnet = read_tailnet_id(user.tailnet_id)?;
        let actor = format!("user:{}", user.login_name);
        let added = self.log.mutate(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let now = mutation.now();
                let on = mutation.connection();
                if !store::sessions::take_ceremony(on, &session.session.id, &sealed).await? {
                    return Err(refused("This page is too old. Try again."));
                }
                if store::passkeys::find_passkey(&mut *on, &credential_id)
                    .await?
                    .is_some()
                {
                    return Err(refused("This passkey is there already."));
                }
                let passkey = Passkey {
                    id: hex::encode(random_bytes::<6>()),
                    tailnet_id: user.tailnet_id,
                    user_id: user.id,
                    name,
                    created_at: Some(to_timestamp(now)),
                    last_used_at: None,
                };
                let row = PasskeyRow {
                    passkey: passkey.clone(),
                    credential_id,
                    credential,
                };
                store::passkeys::insert_passkey(on, &row, now).await?;
                let detail = json!({ "user": user.login_name, "name": passkey.name });
                mutation.record_audit("passkey.add", passkey.id.clone(), &detail);
                Ok(passkey)
            })
        });
        Ok(added.await?.0)
    }

    /// Returns the passkeys of a session's user.
    pub(crate) async fn list_own(
        &self,
        session_secret: &str,
    ) -> Result<Vec<Passkey>, IdentityError> {
        let (_, user) = require_browser_session(&self.log, session_secret).await?;
        let rows = self.list_rows(&user).await?;
        Ok(rows.into_iter().map(|row| row.passkey).collect())
    }

    /// Removes a passkey of a session's user.
    pub(crate) async fn delete_own(
        &self,
        session_secret: &str,
        id: String,
    ) -> Result<(), IdentityError> {
        let (_, user) = require_browser_session(&self.log, session_secret).await?;
        let tailnet = read_tailnet_id(user.tailnet_id)?;
        let actor = format!("user:{}", user.login_name);
        let deleted = self.log.mutate(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let on = mutation.connection();
                if !store::passkeys::delete_passkey(on, tailnet.get(), user.id, &id).await? {
                    return Err(IdentityError::NotFound("passkey"));
                }
                let detail = json!({ "user": user.login_name });
                mutation.record_audit("passkey.delete", id, &detail);
                Ok(())
            })
        });
        deleted.await?;
        Ok(())
    }

    async fn list_rows(&self, user: &User) -> Result<Vec<PasskeyRow>, IdentityError> {
        let reader = self.log.database().reader();
        Ok(store::passkeys::list_passkeys(reader, user.tailnet_id, user.id).await?)
    }
}

/// Notes on a passkey that it has logged in.
pub(crate) fn note_login(
    mut row: PasskeyRow,
    credential: String,
    now: DateTime<Utc>,
) -> PasskeyRow {
    row.credential = credential;
    row.passkey.last_used_at = Some(to_timestamp(now));
    row
}
