//! Sessions of people, in browsers and of programs: opened by a login, a passkey or a link, found by a secret, ended by anybody who may.

mod programs;

use std::sync::Arc;

use bowline_clock::random_bytes;
use bowline_db::{ChangeLog, Mutation};
use bowline_ids::TailnetId;
use bowline_proto::identity::v1::{
    BrowserDescription, CloseSessionResponse, Connection, GetSessionResponse, Login, LoginPurpose,
    OpenSessionRequest, Session, SessionOrigin, User,
};
use bowline_sealing::SealingKeys;
use bowline_tokens::{PresentedToken, TokenKind};
use chrono::{DateTime, Utc};
use serde_json::json;
use zeroize::Zeroizing;

use crate::{
    connections::Connections,
    domain::{person::refused, session},
    error::IdentityError,
    fields::read_tailnet_id,
    login_attempts::LoginAttempts,
    logins::Logins,
    provider_logins::record_provider_login,
    secrets::KeptTokens,
    store::{self, attempts::AttemptRow, sessions::SessionRow},
    tailnets::tailnet_title,
    users::require_user,
};

/// What is said of a session that is not there or has ended: which of them is nobody's business.
pub(crate) const NO_SESSION: IdentityError = IdentityError::NotFound("session");

/// A session that was just opened, with what the browser proves it by.
pub(crate) struct OpenedSession {
    pub(crate) session: Session,
    pub(crate) secret: Zeroizing<String>,
}

/// Serves sessions. Clones share it.
#[derive(Clone)]
pub struct BrowserSessions {
    pub(crate) log: ChangeLog,
    logins: Logins,
    pub(crate) attempts: LoginAttempts,
    pub(crate) connections: Connections,
}

impl BrowserSessions {
    pub(crate) fn new(
        log: ChangeLog,
        logins: Logins,
        attempts: LoginAttempts,
        connections: Connections,
    ) -> Self {
        Self {
            log,
            logins,
            attempts,
            connections,
        }
    }

    /// Begins a login for a browser that wants a session; the same one for the same browser.
    pub(crate) async fn start_login(
        &self,
        browser: Vec<u8>,
        description: BrowserDescription,
    ) -> Result<Login, IdentityError> {
        self.logins.start_session_login(browser, description).await
    }

    /// Opens the session that an attempt has proven: once only.
    pub(crate) async fn open_session(
        &self,
        request: OpenSessionRequest,
    ) -> Result<OpenedSession, IdentityError> {
        let OpenSessionRequest {
            attempt_id,
            browser,
            description,
        } = request;
        let attempt = self.attempts.find_identified(&attempt_id, &browser).await?;
        let login = self.logins.find_login(&attempt.login_id).await?;
        if login.purpose() != LoginPurpose::Session {
            return Err(refused("This login is a device's, and opens no session."));
        }
        let browser = description.unwrap_or_default();
        let prepared = self.prepare_session(&attempt, browser).await?;
        let (tailnet, actor) = (prepared.tailnet, prepared.actor.clone());
        let opened = self.log.mutate(tailnet, actor, move |mutation| {
            Box::pin(async move {
                LoginAttempts::approve_identified(mutation, &attempt).await?;
                prepared.open(mutation).await
            })
        });
        Ok(opened.await?.0)
    }

    /// Reads what the session of an attempt's person is to be.
    async fn prepare_session(
        &self,
        attempt: &AttemptRow,
        browser: BrowserDescription,
    ) -> Result<PreparedSession, IdentityError> {
        let reader = self.log.database().reader();
        let found = store::connections::find_connection(reader, attempt.connection_id).await?;
        let connection = found.map(|row| row.connection);
        let origin = match (&connection, attempt.connection_id) {
            (_, 0) => SessionOrigin::Invitation,
            (Some(connection), _) if connection.is_local() => SessionOrigin::Passkey,
            _ => SessionOrigin::Provider,
        };
        let tokens = self.open_kept_tokens(attempt, connection.as_ref())?;
        let user = store::find_user(reader, attempt.tailnet_id, attempt.user_id).await?;
        let user = user.ok_or(IdentityError::NotFound("user"))?;
        Ok(PreparedSession {
            tailnet: read_tailnet_id(attempt.tailnet_id)?,
            actor: format!("user:{}", user.login_name),
            begun: NewSession {
                user_id: user.id,
                origin,
                connection_id: attempt.connection_id,
                browser,
                limited: false,
                program: false,
            },
            tokens: tokens.zip(self.connections.sealing_keys().ok().cloned()),
        })
    }

    /// Returns the session of a secret, with its user, and notes that it is used.
    pub(crate) async fn find_session(
        &self,
        secret: &str,
    ) -> Result<GetSessionResponse, IdentityError> {
        let (row, user) = require_browser_session(&self.log, secret).await?;
        let reader = self.log.database().reader();
        let tailnet = store::find_tailnet(reader, row.session.tailnet_id).await?;
        let tailnet_id = read_tailnet_id(row.session.tailnet_id)?;
        let connections = self.connections.list_connections(tailnet_id).await?;
        Ok(GetSessionResponse {
            user: Some(session::acting_user(&row.session, user)),
            session: Some(row.session),
            tailnet_name: tailnet.as_ref().map_or_else(String::new, tailnet_title),
            has_passkeys: connections.iter().any(Connection::is_local),
        })
    }

    /// Ends the session of a secret. Returns where the browser is to be sent, so that the session at the provider ends, too;
    /// empty where there is none.
    pub(crate) async fn close_session(
        &self,
        secret: &str,
        callback_url: &str,
    ) -> Result<CloseSessionResponse, IdentityError> {
        let (row, user) = match require_session(&self.log, secret).await {
            Ok(found) => found,
            Err(IdentityError::NotFound(_)) => return Ok(CloseSessionResponse::default()),
            Err(error) => return Err(error),
        };
        let tailnet = read_tailnet_id(row.session.tailnet_id)?;
        let actor = format!("user:{}", user.login_name);
        let ended = self
            .end_session(tailnet, actor, row.session.id.clone())
            .await;
        match ended {
            // Somebody else has ended it meanwhile.
            Ok(()) | Err(IdentityError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(CloseSessionResponse {
            provider_url: self.find_provider_logout(&row, callback_url).await,
            ended: true,
        })
    }

    /// Returns the sessions that work now, of a user or (zero) of all.
    pub(crate) async fn list_sessions(
        &self,
        tailnet: TailnetId,
        user_id: u64,
    ) -> Result<Vec<Session>, IdentityError> {
        let now = self.read_time().await?;
        let reader = self.log.database().reader();
        let rows = store::sessions::list_sessions(reader, tailnet.get(), user_id).await?;
        let live = rows
            .into_iter()
            .filter(|row| session::is_live(row.last_used_at, row.expires_at, now));
        Ok(live.map(|row| row.session).collect())
    }

    /// Ends a session.
    pub(crate) async fn end_session(
        &self,
        tailnet: TailnetId,
        actor: String,
        id: String,
    ) -> Result<(), IdentityError> {
        let ended = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let on = mutation.connection();
                if !store::sessions::delete_session(on, tailnet.get(), &id).await? {
                    return Err(NO_SESSION);
                }
                mutation.record_audit("session.end", id, &json!({}));
                Ok(())
            })
        });
        ended.await?;
        Ok(())
    }

    /// Returns the sessions of a session's user that work now, newest first.
    pub(crate) async fn list_own(&self, secret: &str) -> Result<Vec<Session>, IdentityError> {
        let (row, user) = require_browser_session(&self.log, secret).await?;
        let tailnet = read_tailnet_id(row.session.tailnet_id)?;
        self.list_sessions(tailnet, user.id).await
    }

    /// Ends a session of a session's user.
    pub(crate) async fn end_own(&self, secret: &str, id: String) -> Result<(), IdentityError> {
        let (row, user) = require_browser_session(&self.log, secret).await?;
        let tailnet = read_tailnet_id(row.session.tailnet_id)?;
        let own = self.list_sessions(tailnet, user.id).await?;
        if own.iter().all(|session| session.id != id) {
            return Err(NO_SESSION);
        }
        let actor = format!("user:{}", user.login_name);
        self.end_session(tailnet, actor, id).await
    }

    async fn read_time(&self) -> Result<DateTime<Utc>, IdentityError> {
        Ok(self.log.database().now().await?)
    }
}

/// Returns the session of a browser that a secret proves, as [`require_session`] does. A program's session calls the services and
/// nothing else: it adds no passkey, and lets nobody in.
pub(crate) async fn require_browser_session(
    log: &ChangeLog,
    secret: &str,
) -> Result<(SessionRow, User), IdentityError> {
    let found = require_session(log, secret).await?;
    match found.0.session.program {
        false => Ok(found),
        true => Err(NO_SESSION),
    }
}

/// Returns the session that a secret proves, and its user, who is in good standing; notes that it is used. The user has the role
/// that he or she has, also where the session is limited.
///
/// # Errors
///
/// `NotFound` when there is none, or not any more.
pub(crate) async fn require_session(
    log: &ChangeLog,
    secret: &str,
) -> Result<(SessionRow, User), IdentityError> {
    let token = PresentedToken::parse_as(TokenKind::Session, secret).ok_or(NO_SESSION)?;
    let reader = log.database().reader();
    let row = store::sessions::find_session(reader, token.id()).await?;
    let row = row.ok_or(NO_SESSION)?;
    let now = log.database().now().await?;
    let is_live = session::is_live(row.last_used_at, row.expires_at, now);
    if !token.matches(&row.secret_hash) || !is_live {
        return Err(NO_SESSION);
    }
    let user = store::find_user(reader, row.session.tailnet_id, row.session.user_id).await?;
    let user = user.filter(|user| !user.suspended).ok_or(NO_SESSION)?;
    if now - row.last_used_at >= session::USE_INTERVAL {
        let id = row.session.id.clone();
        let noted = log.database().write(|write| {
            Box::pin(async move {
                let now = write.now();
                let noted = store::sessions::note_use(write.connection(), &id, now);
                Ok::<_, IdentityError>(noted.await?)
            })
        });
        noted.await?;
    }
    Ok((row, user))
}

/// A session that a login has proven and that is about to open.
struct PreparedSession {
    tailnet: TailnetId,
    /// Who opens it, for the audit trail.
    actor: String,
    begun: NewSession,
    /// What the provider gave with the login, and the keys to seal it with.
    tokens: Option<(KeptTokens, Arc<SealingKeys>)>,
}

impl PreparedSession {
    async fn open(self, mutation: &mut Mutation) -> Result<OpenedSession, IdentityError> {
        let opened = insert_session(mutation, self.begun).await?;
        if let Some((tokens, keys)) = self.tokens {
            record_provider_login(mutation, &keys, &opened.session.id, tokens).await?;
        }
        Ok(opened)
    }
}

/// Ends the sessions of a user who is suspended, and those that are about to open: a program fetches its own when it likes. Who is in
/// the middle of a login is told of the suspension at the next step.
pub(crate) async fn end_ways_in(
    mutation: &mut Mutation,
    user_id: u64,
) -> Result<(), IdentityError> {
    let (tailnet, on) = (mutation.tailnet().get(), mutation.connection());
    store::attempts::delete_approved_attempts(on, user_id).await?;
    Ok(store::sessions::keep_newest_sessions(on, tailnet, user_id, 0).await?)
}

/// What a session is to be.
pub(crate) struct NewSession {
    pub(crate) user_id: u64,
    pub(crate) origin: SessionOrigin,
    pub(crate) connection_id: u64,
    pub(crate) browser: BrowserDescription,
    /// Whether it acts as a member's, whatever role the user has.
    pub(crate) limited: bool,
    /// Whether a program has it, and no browser.
    pub(crate) program: bool,
}

/// Opens a session for a user in good standing; the oldest of too many gives way.
pub(crate) async fn insert_session(
    mutation: &mut Mutation,
    begun: NewSession,
) -> Result<OpenedSession, IdentityError> {
    let (tailnet, now) = (mutation.tailnet(), mutation.now());
    let user = require_user(mutation.connection(), tailnet, begun.user_id).await?;
    if user.suspended {
        return Err(refused(
            "An administrator has suspended you. Ask an administrator.",
        ));
    }
    let token = TokenKind::Session.make_token(random_bytes(), random_bytes());
    let mut made = Session {
        id: token.id,
        tailnet_id: tailnet.get(),
        user_id: begun.user_id,
        origin: begun.origin.into(),
        connection_id: begun.connection_id,
        limited: begun.limited,
        program: begun.program,
        ..Session::default()
    };
    session::begin_session(&mut made, &begun.browser, now);
    let row = SessionRow {
        session: made.clone(),
        secret_hash: token.hash,
        last_used_at: now,
        expires_at: now + session::LIFETIME,
        ceremony: None,
        provider_session: None,
        id_token: None,
    };
    let on = mutation.connection();
    store::sessions::insert_session(on, &row).await?;
    let kept = session::MOST_OF_USER;
    store::sessions::keep_newest_sessions(on, tailnet.get(), begun.user_id, kept).await?;
    let detail = json!({
        "user": user.login_name,
        "by": begun.origin.as_str_name().trim_start_matches("SESSION_ORIGIN_").to_lowercase(),
        "source": made.source_address,
        "program": made.program,
    });
    mutation.record_audit("session.open", made.id.clone(), &detail);
    Ok(OpenedSession {
        session: made,
        secret: token.text,
    })
}
