//! From an auth URL to a device that is let in: a browser is sent to a provider, comes back, and the person decides.
//!
//! ```text
//! begin_attempt ─▶ the provider ─▶ finish_oidc (once for each state) ────────────────▶ the person is known
//!                              └─▶ take_saml_response (once) ─▶ finish_saml (once) ─▶ the person is known
//! the provider, where it may begin ─▶ take_saml_response (once) ─▶ finish_saml (once) ─▶ the person is known
//!                                                    decide_attempt (once) ─▶ the login is approved or denied
//! ```
//!
//! Each step is one row update that only one caller wins, so that any replica serves any step and no step happens twice.

mod choices;
mod local;
mod oidc;
pub(crate) mod provider;
mod saml;
mod step_up;
mod unsolicited;

pub(crate) use local::passkey_place;

use std::sync::Arc;

use bowline_clock::random_bytes;
use bowline_db::ChangeLog;
use bowline_ids::LoginId;
use bowline_oidc::Providers;
use bowline_proto::identity::v1::{
    BeginLoginAttemptRequest, BeginLoginAttemptResponse, DecideLoginAttemptRequest, FormField,
    GetLoginAttemptRequest, Login, LoginAttempt, LoginPurpose, LoginState, User,
};
use chrono::{DateTime, Utc};
use subtle::ConstantTimeEq as _;

use crate::{
    connections::Connections,
    domain::{
        attempt::{self, AttemptStep},
        login::wanted_tailnet,
        person::refused,
    },
    error::IdentityError,
    fields::read_tailnet_id,
    logins::{LoginDecision, Logins, decide_and_audit},
    store::{self, attempts::AttemptRow},
    tailnets::tailnet_title,
};

/// The way of a browser to a provider and back.
struct ProviderWay {
    /// SHA-256 of what the browser brings back.
    state_hash: Vec<u8>,
    /// Where the provider sends the browser back to.
    callback_url: String,
    /// What binds the login at the provider, sealed.
    sealed: Vec<u8>,
    /// Where the browser is sent.
    redirect_url: String,
    /// What it posts there; without any it is redirected.
    post_fields: Vec<FormField>,
    /// What its passkeys are asked, where there is no provider.
    passkey_options: String,
}

/// Serves attempts. Clones share it.
#[derive(Clone)]
pub struct LoginAttempts {
    log: ChangeLog,
    logins: Logins,
    connections: Connections,
    providers: Arc<Providers>,
}

/// What is said of an attempt that is not there, has ended, or was begun by another browser: which of them is nobody's
/// business.
const NOT_KNOWN: IdentityError = IdentityError::NotFound("login attempt");

impl LoginAttempts {
    pub(crate) fn new(
        log: ChangeLog,
        logins: Logins,
        connections: Connections,
        providers: Providers,
    ) -> Self {
        let providers = Arc::new(providers);
        Self {
            log,
            logins,
            connections,
            providers,
        }
    }

    /// Begins an attempt for a pending login.
    pub(crate) async fn begin_attempt(
        &self,
        request: BeginLoginAttemptRequest,
    ) -> Result<BeginLoginAttemptResponse, IdentityError> {
        check_browser(&request.browser)?;
        let login = self.find_pending(&request.login_id).await?;
        if request.connection_id == 0 {
            return self.begin_by_session(login, request).await;
        }
        let reader = self.log.database().reader();
        let row = store::connections::find_connection(reader, request.connection_id).await?;
        let row = row.ok_or(IdentityError::NotFound("connection"))?;
        let tailnet_id = row.connection.tailnet_id;
        let tailnet = store::find_tailnet(reader, tailnet_id).await?;
        let tailnet = tailnet.ok_or(IdentityError::NotFound("tailnet"))?;
        let wanted = wanted_tailnet(&login);
        attempt::check_wanted_tailnet(wanted, &tailnet)?;

        let id = LoginId::from_random(random_bytes()).to_string();
        let asked = self.ask_at_first(&row.connection, &login).await?;
        let way = self.find_way(&row, &request, &id, &asked).await?;
        let made = AttemptRow {
            id: id.clone(),
            login_id: request.login_id,
            tailnet_id,
            connection_id: request.connection_id,
            browser: request.browser,
            state_hash: way.state_hash,
            step: AttemptStep::Sent,
            user_id: 0,
            callback_url: way.callback_url,
            sealed: way.sealed,
            answer: None,
            asked: None,
            expires_at: self.read_time().await? + attempt::LIFETIME,
        };
        self.insert_attempt(made).await?;
        Ok(BeginLoginAttemptResponse {
            attempt_id: id,
            redirect_url: way.redirect_url,
            post_fields: way.post_fields,
            passkey_options: way.passkey_options,
        })
    }

    async fn insert_attempt(&self, made: AttemptRow) -> Result<(), IdentityError> {
        let written = self.log.database().write(|write| {
            Box::pin(async move {
                let (now, on) = (write.now(), write.connection());
                if store::attempts::count_attempts(on, &made.login_id, now).await?
                    >= attempt::MOST_OF_LOGIN
                {
                    return Err(IdentityError::TooManyAttempts);
                }
                Ok::<_, IdentityError>(store::attempts::insert_attempt(on, &made).await?)
            })
        });
        written.await
    }

    /// Returns an attempt of a browser.
    pub(crate) async fn find_own_attempt(
        &self,
        request: GetLoginAttemptRequest,
    ) -> Result<LoginAttempt, IdentityError> {
        let reader = self.log.database().reader();
        let found = store::attempts::find_attempt(reader, &request.attempt_id).await?;
        let attempt = self.check_own(found, &request.browser).await?;
        self.describe_attempt(&attempt.id).await
    }

    /// Lets the device in as the identified person's, or turns it away.
    pub(crate) async fn decide_attempt(
        &self,
        request: DecideLoginAttemptRequest,
    ) -> Result<LoginAttempt, IdentityError> {
        let DecideLoginAttemptRequest {
            attempt_id,
            browser,
            approve,
        } = request;
        let reader = self.log.database().reader();
        let found = store::attempts::find_attempt(reader, &attempt_id).await?;
        let attempt = self.check_own(found, &browser).await?;
        let step = if approve {
            AttemptStep::Approved
        } else {
            AttemptStep::Denied
        };
        if attempt.step == step {
            // The button was pressed twice.
            return self.describe_attempt(&attempt_id).await;
        }
        let tailnet = read_tailnet_id(attempt.tailnet_id)?;
        let user = store::find_user(reader, attempt.tailnet_id, attempt.user_id).await?;
        let user = user.ok_or(NOT_KNOWN)?;
        let actor = format!("user:{}", user.login_name);
        let decision = match approve {
            true => LoginDecision::Approve { user_id: user.id },
            false => LoginDecision::Deny {
                reason: self.denial_of(&attempt, &user).await?,
            },
        };
        let decided = self.log.mutate(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let on = mutation.connection();
                let moved = store::attempts::move_attempt(
                    on,
                    &attempt.id,
                    AttemptStep::Identified,
                    step,
                    attempt.user_id,
                );
                if !moved.await? {
                    return Err(refused("This login was decided already."));
                }
                decide_and_audit(mutation, attempt.login_id, decision).await
            })
        });
        let (login, _) = decided.await?;
        self.logins.announce_decision(&login);
        self.describe_attempt(&attempt_id).await
    }

    /// Says why a login is denied, for the device that waits.
    async fn denial_of(&self, attempt: &AttemptRow, user: &User) -> Result<String, IdentityError> {
        let login = self.logins.find_login(&attempt.login_id).await?;
        let name = &user.login_name;
        Ok(match login.purpose() {
            LoginPurpose::SshCheck => format!("{name} does not want this connection"),
            LoginPurpose::Session => format!("{name} does not want this session"),
            // Who has sent somebody here learns nothing of whom.
            LoginPurpose::Program => "the person does not want this program".to_owned(),
            _ => format!("{name} does not want this device"),
        })
    }

    async fn describe_attempt(&self, id: &str) -> Result<LoginAttempt, IdentityError> {
        let reader = self.log.database().reader();
        let attempt = store::attempts::find_attempt(reader, id)
            .await?
            .ok_or(NOT_KNOWN)?;
        let connection = store::connections::find_connection(reader, attempt.connection_id).await?;
        let tailnet = store::find_tailnet(reader, attempt.tailnet_id).await?;
        let user = store::find_user(reader, attempt.tailnet_id, attempt.user_id).await?;
        Ok(LoginAttempt {
            login: Some(self.logins.find_login(&attempt.login_id).await?),
            state: attempt.step.state().into(),
            user,
            connection_name: connection.map_or_else(String::new, |row| row.connection.name),
            tailnet_name: tailnet.as_ref().map_or_else(String::new, tailnet_title),
            is_unsolicited: attempt.is_unsolicited(),
            id: attempt.id,
        })
    }

    /// Refuses an attempt that has ended by itself or was begun by another browser.
    async fn check_own(
        &self,
        found: Option<AttemptRow>,
        browser: &[u8],
    ) -> Result<AttemptRow, IdentityError> {
        check_browser(browser)?;
        let attempt = found.ok_or(NOT_KNOWN)?;
        let is_own = bool::from(attempt.browser.ct_eq(browser));
        match is_own && attempt.expires_at > self.read_time().await? {
            true => Ok(attempt),
            false => Err(NOT_KNOWN),
        }
    }

    /// Returns what providers publish.
    pub(crate) fn providers(&self) -> &Providers {
        &self.providers
    }

    async fn find_pending(&self, login_id: &str) -> Result<Login, IdentityError> {
        let login = self.logins.find_login(login_id).await?;
        match login.state() {
            LoginState::Pending => Ok(login),
            _ => Err(refused(
                "This login has ended. Run the command on the device again.",
            )),
        }
    }

    async fn read_time(&self) -> Result<DateTime<Utc>, IdentityError> {
        Ok(self.log.database().now().await?)
    }
}

fn check_browser(browser: &[u8]) -> Result<(), IdentityError> {
    match browser.len() {
        32 => Ok(()),
        _ => Err(IdentityError::invalid("browser", "is a hash of 32 bytes")),
    }
}
