//! What ends here when a provider says that a person's login there has ended.
//!
//! Sessions that the connection has opened end. Where the connection says so the person is suspended, until the provider's word
//! at another login, or an administrator, takes that back. Who is suspended by somebody else stays so.

use bowline_db::Mutation;
use bowline_oidc::{
    BrowserLogoutRequest, ClientRegistration, ProviderLogout, ProviderLogoutRequest,
};
use bowline_proto::{
    addresses::SIGNED_OUT,
    identity::v1::{
        Connection, EndProviderLoginRequest, LoginEndEffect, Role, Session, SessionOrigin, User,
    },
};
use bowline_sealing::SealingKeys;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    domain::{person::refused, suspension::Suspension},
    error::IdentityError,
    fields::read_tailnet_id,
    login_attempts::provider::oidc_provider,
    memberships::{audit_change, write_user},
    secrets::{KeptTokens, open_id_token, open_tokens, seal_id_token},
    sessions::{BrowserSessions, end_ways_in},
    store::{
        self, attempts::AttemptRow, connections::ProviderSubject,
        provider_sessions::ProviderSessionKey, sessions::SessionRow,
    },
    users::require_user,
};

/// The longest ID token that is kept to be sent back at a logout: it goes into an address.
pub(crate) const LONGEST_ID_TOKEN: usize = 4096;
/// What is said of a logout token that comes again.
const USED: &str = "the logout token was used already";

impl BrowserSessions {
    /// Ends what a connection says of a person who has logged out at its provider.
    pub(crate) async fn end_provider_login(
        &self,
        request: EndProviderLoginRequest,
    ) -> Result<(), IdentityError> {
        let row = self.connections.find_stored(request.connection_id).await?;
        let oidc = oidc_provider(&row.connection)?;
        let registration = ClientRegistration {
            issuer: oidc.issuer.clone(),
            client_id: oidc.client_id.clone(),
            client_secret: None,
            callback: None,
        };
        let asked = ProviderLogoutRequest {
            registration: &registration,
            token: &request.logout_token,
            now: self.connections.read_time().await?,
        };
        let logout = bowline_oidc::check_logout_token(self.attempts.providers(), asked).await?;
        let (connection, effect) = (row.connection.clone(), oidc.on_logout());
        let tailnet = read_tailnet_id(connection.tailnet_id)?;
        let issuer = registration.issuer;
        let ended = self
            .log
            .mutate(tailnet, actor_of(&connection), move |mutation| {
                Box::pin(async move {
                    take_once(mutation, connection.id, &logout).await?;
                    let found = find_subject(mutation, connection.id, &logout).await?;
                    let Some(subject) = found else {
                        return Ok(());
                    };
                    let only = logout.provider_session.as_deref();
                    let (id, on) = (connection.id, mutation.connection());
                    store::provider_refreshes::end_refresh(on, id, &subject, only).await?;
                    let person = ProviderSubject {
                        connection_id: id,
                        issuer: &issuer,
                        subject: &subject,
                    };
                    let found = store::connections::find_linked_user(on, person).await?;
                    let Some(user_id) = found else {
                        return Ok(());
                    };
                    end_sessions(
                        mutation,
                        connection.id,
                        user_id,
                        SessionEnd::of_provider(only),
                    )
                    .await?;
                    if effect == LoginEndEffect::Suspend {
                        suspend_by(mutation, &connection, user_id).await?;
                    }
                    Ok::<_, IdentityError>(())
                })
            });
        ended.await?;
        Ok(())
    }

    /// Returns where a browser ends its session at the provider that has opened this one; empty where it can not. Whatever is
    /// wrong there, the session here has ended.
    pub(crate) async fn find_provider_logout(
        &self,
        row: &SessionRow,
        callback_url: &str,
    ) -> String {
        let found = self.ask_for_logout(row, callback_url).await;
        found.unwrap_or_else(|error| {
            tracing::info!(%error, "the session at the provider is not ended");
            String::new()
        })
    }

    async fn ask_for_logout(
        &self,
        row: &SessionRow,
        callback_url: &str,
    ) -> Result<String, IdentityError> {
        let is_of_provider = row.session.origin() == SessionOrigin::Provider;
        if !is_of_provider || callback_url.is_empty() {
            return Ok(String::new());
        }
        let stored = self
            .connections
            .find_stored(row.session.connection_id)
            .await?;
        let Ok(oidc) = oidc_provider(&stored.connection) else {
            return Ok(String::new());
        };
        let registration = self.attempts.registration(&stored, oidc, callback_url)?;
        let keys = self.connections.sealing_keys()?;
        let sealed = row.id_token.as_deref();
        let id_token = sealed.and_then(|sealed| open_id_token(keys, &row.session.id, sealed));
        let asked = BrowserLogoutRequest {
            registration: &registration,
            id_token: id_token.as_deref().map(String::as_str),
            state: SIGNED_OUT,
        };
        let url = bowline_oidc::find_logout_url(self.attempts.providers(), asked).await?;
        let Some(url) = url else {
            return Ok(String::new());
        };
        self.end_asking(row).await?;
        Ok(url.into())
    }

    /// Forgets what a provider is asked by because of a session that the person ends there: its answer would be a refusal.
    async fn end_asking(&self, row: &SessionRow) -> Result<(), IdentityError> {
        let (connection_id, user_id) = (row.session.connection_id, row.session.user_id);
        let provider_session = row.provider_session.clone();
        let ended = self.log.database().write(|write| {
            Box::pin(async move {
                let on = write.connection();
                match &provider_session {
                    Some(provider_session) => {
                        let key = ProviderSessionKey {
                            connection_id,
                            provider_session,
                        };
                        store::provider_refreshes::end_of_session(on, key).await?;
                    }
                    None => {
                        store::provider_refreshes::end_of_user(on, user_id, connection_id).await?;
                    }
                }
                Ok::<_, IdentityError>(())
            })
        });
        ended.await
    }

    /// Returns what an OpenID Connect provider gave with the login of an attempt.
    pub(crate) fn open_kept_tokens(
        &self,
        attempt: &AttemptRow,
        connection: Option<&Connection>,
    ) -> Result<Option<KeptTokens>, IdentityError> {
        match &attempt.answer {
            Some(sealed) if connection.is_some_and(|one| oidc_provider(one).is_ok()) => {
                let keys = self.connections.sealing_keys()?;
                Ok(Some(open_tokens(keys, &attempt.id, sealed)?))
            }
            _ => Ok(None),
        }
    }
}

/// Returns who a connection is in audit entries.
pub(crate) fn actor_of(connection: &Connection) -> String {
    format!("connection:{}", connection.name)
}

/// Refuses a logout token that was taken before, by whatever replica.
async fn take_once(
    mutation: &mut Mutation,
    connection_id: u64,
    logout: &ProviderLogout,
) -> Result<(), IdentityError> {
    let digest = Sha256::digest(logout.token_id.as_bytes());
    let on = mutation.connection();
    let is_new = store::saml::use_message(on, connection_id, &digest, logout.replay_until);
    match is_new.await? {
        true => Ok(()),
        false => Err(refused(USED)),
    }
}

/// Returns the person who a logout is of; `None` when nobody here has logged in by that session.
async fn find_subject(
    mutation: &mut Mutation,
    connection_id: u64,
    logout: &ProviderLogout,
) -> Result<Option<String>, IdentityError> {
    let (Some(provider_session), None) = (&logout.provider_session, &logout.subject) else {
        return Ok(logout.subject.clone());
    };
    let key = ProviderSessionKey {
        connection_id,
        provider_session,
    };
    let on = mutation.connection();
    Ok(store::provider_sessions::find_subject(on, key).await?)
}

/// Which sessions that a connection has opened for a user end, and who says so.
#[derive(Clone, Copy)]
pub(crate) struct SessionEnd<'a> {
    /// One session at the provider, or (`None`) all.
    only: Option<&'a str>,
    /// Who says so, for the audit trail.
    by: &'static str,
}

impl<'a> SessionEnd<'a> {
    /// The provider says so of one session there, or (`None`) of all.
    pub(crate) fn of_provider(only: Option<&'a str>) -> Self {
        Self {
            only,
            by: "provider",
        }
    }

    /// The person there is this user no longer.
    pub(crate) fn of_unlink() -> Self {
        Self {
            only: None,
            by: "unlink",
        }
    }
}

/// Ends sessions of a user that a connection has opened, and logins by it that are under way. A session of which it is not known
/// which the provider's was ends with each.
pub(crate) async fn end_sessions(
    mutation: &mut Mutation,
    connection_id: u64,
    user_id: u64,
    end: SessionEnd<'_>,
) -> Result<(), IdentityError> {
    let tailnet = mutation.tailnet().get();
    let on = mutation.connection();
    store::attempts::delete_attempts_of_user(on, user_id, connection_id).await?;
    let rows = store::sessions::list_sessions(&mut *on, tailnet, user_id).await?;
    let ends = |session: &Session, of_provider: Option<&str>| {
        let is_named = end.only.is_none() || of_provider.is_none() || end.only == of_provider;
        session.connection_id == connection_id && is_named
    };
    for row in rows {
        if !ends(&row.session, row.provider_session.as_deref()) {
            continue;
        }
        let id = row.session.id;
        if store::sessions::delete_session(mutation.connection(), tailnet, &id).await? {
            mutation.record_audit("session.end", id, &json!({ "by": end.by }));
        }
    }
    Ok(())
}

/// Suspends a user because of a provider's word. The owner stays, as whatever else would suspend the owner.
pub(crate) async fn suspend_by(
    mutation: &mut Mutation,
    connection: &Connection,
    user_id: u64,
) -> Result<(), IdentityError> {
    let tailnet = mutation.tailnet();
    let before = require_user(mutation.connection(), tailnet, user_id).await?;
    if before.suspended {
        return Ok(());
    }
    let mut changed = User {
        suspended: true,
        suspended_by_connection_id: connection.id,
        ..before.clone()
    };
    if before.role() == Role::Owner {
        let user = &before.login_name;
        tracing::warn!(
            user,
            connection = connection.name,
            "the owner is not suspended"
        );
        return Ok(());
    }
    write_user(mutation, &mut changed).await?;
    end_ways_in(mutation, user_id).await?;
    audit_change(mutation, &before, &changed);
    Ok(())
}

/// Takes back that a user is suspended.
pub(crate) async fn end_suspension(
    mutation: &mut Mutation,
    before: User,
) -> Result<(), IdentityError> {
    let mut changed = before.clone();
    let kept = Suspension {
        by_connection_id: 0,
        ..Suspension::of(&before)
    };
    kept.apply_to(&mut changed);
    write_user(mutation, &mut changed).await?;
    audit_change(mutation, &before, &changed);
    Ok(())
}

/// Records by which login at a provider a session was opened.
pub(crate) async fn record_provider_login(
    mutation: &mut Mutation,
    keys: &SealingKeys,
    session_id: &str,
    tokens: KeptTokens,
) -> Result<(), IdentityError> {
    let is_kept = !tokens.id_token.is_empty();
    let id_token = is_kept.then(|| seal_id_token(keys, session_id, &tokens.id_token));
    let on = mutation.connection();
    let named = tokens.provider_session;
    store::sessions::put_provider_login(on, session_id, named, id_token).await?;
    Ok(())
}
