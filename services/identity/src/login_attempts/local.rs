//! The ways without a provider: a passkey, and a session that the browser has already.

use bowline_clock::random_bytes;
use bowline_db::Mutation;
use bowline_ids::{LoginId, TailnetId};
use bowline_proto::identity::v1::{
    BeginLoginAttemptRequest, BeginLoginAttemptResponse, FinishPasskeyLoginRequest, Login,
    LoginAttempt, SessionOrigin, User,
};
use bowline_proto::time::from_timestamp;
use chrono::{DateTime, Utc};

use super::{
    LoginAttempts, NOT_KNOWN, ProviderWay, check_browser,
    step_up::{KnownLogin, judge_login},
};
use sqlx::AnyConnection;

use crate::{
    domain::{
        attempt::{self, AttemptStep},
        condition::{ConditionVerdict, LoginProof},
        login::{opens_session, wanted_tailnet},
        person::refused,
    },
    error::IdentityError,
    fields::read_tailnet_id,
    logins::approve_browser,
    passkey_ceremony::{PasskeyAnswer, PasskeyServer},
    passkeys::note_login,
    sessions::require_browser_session,
    store::{self, attempts::AttemptRow},
};

/// Where an attempt's challenge is sealed for.
pub(crate) fn passkey_place(attempt_id: &str) -> String {
    format!("login_attempts/{attempt_id}/passkey")
}

impl LoginAttempts {
    /// Returns what the browser's passkeys are asked.
    pub(super) fn begin_passkey(
        &self,
        request: &BeginLoginAttemptRequest,
        id: &str,
    ) -> Result<ProviderWay, IdentityError> {
        let server = PasskeyServer::new(&request.origin)?;
        let begun = server.begin_login(self.connections.sealing_keys()?, &passkey_place(id))?;
        Ok(ProviderWay {
            // Nobody brings a state back: the browser goes nowhere.
            state_hash: random_bytes::<32>().to_vec(),
            callback_url: String::new(),
            sealed: begun.sealed,
            redirect_url: String::new(),
            post_fields: Vec::new(),
            passkey_options: begun.options,
        })
    }

    /// Takes the answer of a passkey.
    pub(crate) async fn finish_passkey(
        &self,
        request: FinishPasskeyLoginRequest,
    ) -> Result<LoginAttempt, IdentityError> {
        let reader = self.log.database().reader();
        let found = store::attempts::find_attempt(reader, &request.attempt_id).await?;
        let attempt = self.check_own(found, &request.browser).await?;
        self.take_attempt(&attempt).await?;
        let answer = PasskeyAnswer::parse(&request.response)?;
        let kept = store::passkeys::find_passkey(reader, answer.credential_id()).await?;
        let own = kept.filter(|row| row.passkey.tailnet_id == attempt.tailnet_id);
        let kept = own.ok_or_else(|| {
            refused("This passkey is not known here. Use another way to log in, or ask an administrator.")
        })?;
        let server = PasskeyServer::new(&request.origin)?;
        let keys = self.connections.sealing_keys()?;
        let credential = server.finish_login(
            keys,
            &passkey_place(&attempt.id),
            &attempt.sealed,
            &answer,
            &kept,
        )?;
        let user_id = kept.passkey.user_id;
        let id = attempt.id.clone();
        let identified = self.log.database().write(|write| {
            Box::pin(async move {
                let now = write.now();
                let on = write.connection();
                let user = require_standing(on, &attempt, user_id).await?;
                let known = KnownLogin {
                    tailnet_id: attempt.tailnet_id,
                    login_id: &attempt.login_id,
                    connection_id: attempt.connection_id,
                    has_stepped_up: true,
                };
                require_conditions(on, now, &known, user, &LoginProof::of_passkey(now)).await?;
                store::passkeys::update_passkey(on, &note_login(kept, credential, now)).await?;
                let (from, to) = (AttemptStep::Taken, AttemptStep::Identified);
                match store::attempts::move_attempt(on, &attempt.id, from, to, user_id).await? {
                    true => Ok(()),
                    false => Err(NOT_KNOWN),
                }
            })
        });
        identified.await?;
        self.describe_attempt(&id).await
    }

    /// Begins an attempt of a person whose session the browser has: he or she is known at once.
    pub(super) async fn begin_by_session(
        &self,
        login: Login,
        request: BeginLoginAttemptRequest,
    ) -> Result<BeginLoginAttemptResponse, IdentityError> {
        let (session, user) = require_browser_session(&self.log, &request.session_secret).await?;
        let tailnet_id = session.session.tailnet_id;
        let tailnet = read_tailnet_id(tailnet_id)?;
        let signed_in = self
            .find_signed_in(&login, tailnet, &request.session_secret)
            .await?;
        if signed_in.is_none() {
            return Err(refused("Log in by a provider of your organisation."));
        }
        let reader = self.log.database().reader();
        let found = store::find_tailnet(reader, tailnet_id).await?;
        let found = found.ok_or(IdentityError::NotFound("tailnet"))?;
        let wanted = wanted_tailnet(&login);
        attempt::check_wanted_tailnet(wanted, &found)?;
        let began_at = session.session.created_at.and_then(from_timestamp);
        let began_at = began_at.ok_or(NOT_KNOWN)?;
        let proof = match session.session.origin() {
            SessionOrigin::Passkey => LoginProof::of_passkey(began_at),
            _ => LoginProof::of_invitation(began_at),
        };
        let known = KnownLogin {
            tailnet_id,
            login_id: &login.id,
            connection_id: session.session.connection_id,
            has_stepped_up: true,
        };
        let now = self.read_time().await?;
        let mut read = self.log.database().begin_read().await?;
        require_conditions(&mut read, now, &known, user.clone(), &proof).await?;
        drop(read);
        let id = LoginId::from_random(random_bytes()).to_string();
        let made = AttemptRow {
            id: id.clone(),
            login_id: login.id,
            tailnet_id,
            connection_id: 0,
            browser: request.browser,
            state_hash: random_bytes::<32>().to_vec(),
            step: AttemptStep::Identified,
            user_id: user.id,
            callback_url: String::new(),
            sealed: Vec::new(),
            answer: None,
            asked: None,
            expires_at: now + attempt::LIFETIME,
        };
        self.insert_attempt(made).await?;
        Ok(BeginLoginAttemptResponse {
            attempt_id: id,
            ..BeginLoginAttemptResponse::default()
        })
    }

    /// Returns the person whose session a browser has, where that suffices to let a device into a tailnet: a session that no
    /// provider has opened. What a provider says is asked of the provider each time.
    pub(super) async fn find_signed_in(
        &self,
        login: &Login,
        tailnet: TailnetId,
        session_secret: &str,
    ) -> Result<Option<User>, IdentityError> {
        // A session opens no other one: each is proven anew.
        if session_secret.is_empty() || opens_session(login.purpose()) {
            return Ok(None);
        }
        let (row, user) = match require_browser_session(&self.log, session_secret).await {
            Ok(found) => found,
            Err(IdentityError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let suffices = row.session.tailnet_id == tailnet.get()
            && row.session.origin() != SessionOrigin::Provider;
        Ok(suffices.then_some(user))
    }

    /// Returns an attempt of a browser whose person is known.
    pub(crate) async fn find_identified(
        &self,
        attempt_id: &str,
        browser: &[u8],
    ) -> Result<AttemptRow, IdentityError> {
        check_browser(browser)?;
        let reader = self.log.database().reader();
        let found = store::attempts::find_attempt(reader, attempt_id).await?;
        let attempt = self.check_own(found, browser).await?;
        match attempt.step {
            AttemptStep::Identified => Ok(attempt),
            _ => Err(NOT_KNOWN),
        }
    }

    /// Ends an attempt that lets a browser in: once only.
    pub(crate) async fn approve_identified(
        mutation: &mut Mutation,
        attempt: &AttemptRow,
    ) -> Result<(), IdentityError> {
        let (from, to) = (AttemptStep::Identified, AttemptStep::Approved);
        let on = mutation.connection();
        let moved = store::attempts::move_attempt(on, &attempt.id, from, to, attempt.user_id);
        match moved.await? {
            true => approve_browser(mutation, &attempt.login_id, attempt.user_id).await,
            false => Err(refused("This login was decided already.")),
        }
    }
}

/// Refuses a login that does not meet the conditions of its tailnet: here is nobody who could be asked for more.
async fn require_conditions(
    on: &mut AnyConnection,
    now: DateTime<Utc>,
    known: &KnownLogin<'_>,
    user: User,
    proof: &LoginProof,
) -> Result<(), IdentityError> {
    match judge_login(on, now, known, user, proof).await? {
        ConditionVerdict::Met => Ok(()),
        ConditionVerdict::Refused(words) => Err(refused(&words)),
        ConditionVerdict::StepUp(_) => Err(refused("Your organisation asks for a stronger login.")),
    }
}

/// Refuses a user who is suspended or gone.
async fn require_standing(
    on: &mut AnyConnection,
    attempt: &AttemptRow,
    user_id: u64,
) -> Result<User, IdentityError> {
    let user = store::find_user(on, attempt.tailnet_id, user_id).await?;
    match user {
        Some(user) if !user.suspended => Ok(user),
        _ => Err(refused(
            "An administrator has suspended you. Ask an administrator.",
        )),
    }
}
