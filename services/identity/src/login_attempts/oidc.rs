//! The way by an OpenID Connect provider.

use std::time::Duration;

use bowline_db::to_micros;
use bowline_oidc::{
    ClientRegistration, FinishRequest, FinishedLogin, ProviderIdentity, StartRequest,
};
use bowline_proto::identity::v1::{
    BeginLoginAttemptRequest, FinishOidcLoginRequest, LoginAttempt, LoginAttemptState, OidcProvider,
};
use bowline_service_kit::{Code, ServiceError as _};
use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{
    LoginAttempts, ProviderWay,
    provider::{oidc_provider, provider_refusal, read_proof, scopes_of, wanted_claims},
};
use crate::{
    domain::{
        attempt::AttemptStep, condition::AskedProof, connection::refresh_interval, person::refused,
    },
    error::IdentityError,
    person::read_person,
    provider_logins::LONGEST_ID_TOKEN,
    secrets::{
        KeptTokens, open_login_secrets, random_secrets, seal_login_secrets, seal_refresh_token,
        seal_tokens,
    },
    store::{
        self, attempts::AttemptRow, connections::StoredConnection, provider_refreshes::RefreshRow,
        provider_sessions::ProviderSessionKey,
    },
};

/// The longest name of a provider's session that is kept, in bytes.
const LONGEST_PROVIDER_SESSION: usize = 512;
/// How long it is known whose a provider's session is: longer than such a session mostly lasts.
const KEPT_PROVIDER_SESSION: TimeDelta = TimeDelta::days(30);

impl LoginAttempts {
    /// Returns the way to the provider and back for one attempt.
    pub(super) async fn begin_oidc(
        &self,
        row: &StoredConnection,
        oidc: &OidcProvider,
        request: &BeginLoginAttemptRequest,
        id: &str,
        asked: &AskedProof,
    ) -> Result<ProviderWay, IdentityError> {
        let secrets = random_secrets();
        let registration = self.registration(row, oidc, &request.callback_url)?;
        let start = StartRequest {
            registration: &registration,
            scopes: &scopes_of(oidc),
            secrets: &secrets,
            acr_values: &asked.classes,
            max_age: asked.max_age.map(Duration::from_secs),
            login_again: asked.login_again,
        };
        let redirect = bowline_oidc::start_login(&self.providers, start).await?;
        Ok(ProviderWay {
            state_hash: Sha256::digest(secrets.state.as_bytes()).to_vec(),
            callback_url: request.callback_url.clone(),
            sealed: seal_login_secrets(self.connections.sealing_keys()?, id, &secrets),
            redirect_url: redirect.into(),
            post_fields: Vec::new(),
            passkey_options: String::new(),
        })
    }

    /// Takes what a browser brings back from an OpenID Connect provider.
    pub(crate) async fn finish_oidc(
        &self,
        mut request: FinishOidcLoginRequest,
    ) -> Result<LoginAttempt, IdentityError> {
        let state = Zeroizing::new(std::mem::take(&mut request.state));
        let hash = Sha256::digest(state.as_bytes());
        let reader = self.log.database().reader();
        let found = store::attempts::find_attempt_of_state(reader, &hash).await?;
        let attempt = self.check_own(found, &request.browser).await?;
        self.take_attempt(&attempt).await?;
        let finished = self.finish_taken(&attempt, state, request).await;
        if let Err(error) = &finished {
            self.leave_attempt(&attempt, error).await;
        }
        finished
    }

    async fn finish_taken(
        &self,
        attempt: &AttemptRow,
        state: Zeroizing<String>,
        request: FinishOidcLoginRequest,
    ) -> Result<LoginAttempt, IdentityError> {
        if request.code.is_empty() {
            return Err(provider_refusal(&request.error, &request.error_description));
        }
        let reader = self.log.database().reader();
        let row = store::connections::find_connection(reader, attempt.connection_id).await?;
        let row = row.ok_or(IdentityError::NotFound("connection"))?;
        let oidc = oidc_provider(&row.connection)?;
        let registration = self.registration(&row, oidc, &attempt.callback_url)?;
        let secrets = open_login_secrets(self.connections.sealing_keys()?, attempt, state)?;
        let wanted_claims = wanted_claims(oidc);
        let finish = FinishRequest {
            registration: &registration,
            secrets: &secrets,
            code: &request.code,
            issuer: &request.issuer,
            wanted_claims: &wanted_claims,
            now: self.read_time().await?,
        };
        let finished = bowline_oidc::finish_login(&self.providers, finish).await?;
        let identity = &finished.identity;
        let person = read_person(oidc, identity);
        let proof = read_proof(identity);
        let every = refresh_interval(oidc);
        self.keep_tokens(attempt, &finished).await?;
        let from = AttemptStep::Taken;
        let identified = self.identify_attempt(attempt, from, row.connection, person, proof);
        let identified = identified.await?;
        // Of whom nobody is here nothing is kept.
        self.keep_provider_session(attempt, &finished.identity)
            .await?;
        if identified.state() == LoginAttemptState::Identified
            && let Some((every, token)) = every.zip(finished.refresh_token.as_ref())
        {
            self.keep_refresh(attempt, &finished.identity, every, token)
                .await?;
        }
        Ok(identified)
    }

    /// Ends an attempt that has failed. Where it can go well later, the browser may bring the same answer again.
    async fn leave_attempt(&self, attempt: &AttemptRow, failure: &IdentityError) {
        let id = attempt.id.clone();
        let may_come_again = failure.code() == Code::Unavailable;
        let left = self.log.database().write(|write| {
            Box::pin(async move {
                let (on, taken) = (write.connection(), AttemptStep::Taken);
                match may_come_again {
                    true => {
                        let sent = AttemptStep::Sent;
                        store::attempts::move_attempt(on, &id, taken, sent, 0).await?;
                    }
                    false => store::attempts::delete_attempt(on, &id, taken).await?,
                }
                Ok::<_, IdentityError>(())
            })
        });
        if let Err(error) = left.await {
            tracing::warn!(%error, "an attempt to log in that has failed stays for ten minutes");
        }
    }

    /// Keeps what the session that the login opens may be ended by at the provider.
    async fn keep_tokens(
        &self,
        attempt: &AttemptRow,
        finished: &FinishedLogin,
    ) -> Result<(), IdentityError> {
        let id_token = match finished.id_token.len() {
            ..=LONGEST_ID_TOKEN => finished.id_token.clone(),
            _ => Zeroizing::default(),
        };
        let tokens = KeptTokens {
            provider_session: kept_session(&finished.identity),
            id_token,
        };
        let keys = self.connections.sealing_keys()?;
        let sealed = seal_tokens(keys, &attempt.id, &tokens)?;
        let id = attempt.id.clone();
        let kept = self.log.database().write(|write| {
            Box::pin(async move {
                store::attempts::keep_tokens(write.connection(), &id, sealed).await?;
                Ok::<_, IdentityError>(())
            })
        });
        kept.await
    }

    /// Keeps whose the provider's session is, for a logout there that names the session alone.
    async fn keep_provider_session(
        &self,
        attempt: &AttemptRow,
        identity: &ProviderIdentity,
    ) -> Result<(), IdentityError> {
        let Some(provider_session) = kept_session(identity) else {
            return Ok(());
        };
        let (connection_id, subject) = (attempt.connection_id, identity.subject.clone());
        let kept = self.log.database().write(|write| {
            Box::pin(async move {
                let key = ProviderSessionKey {
                    connection_id,
                    provider_session: &provider_session,
                };
                let (until, on) = (write.now() + KEPT_PROVIDER_SESSION, write.connection());
                store::provider_sessions::put_provider_session(on, key, &subject, until).await?;
                Ok::<_, IdentityError>(())
            })
        });
        kept.await
    }

    /// Keeps by what the provider is asked whether it still vouches for a person who got in.
    async fn keep_refresh(
        &self,
        attempt: &AttemptRow,
        identity: &ProviderIdentity,
        every: TimeDelta,
        token: &Zeroizing<String>,
    ) -> Result<(), IdentityError> {
        let (connection_id, subject) = (attempt.connection_id, identity.subject.clone());
        let keys = self.connections.sealing_keys()?;
        let sealed_token = seal_refresh_token(keys, connection_id, &subject, token);
        let provider_session = kept_session(identity).unwrap_or_default();
        let kept = self.log.database().write(|write| {
            Box::pin(async move {
                let row = RefreshRow {
                    connection_id,
                    subject,
                    provider_session,
                    sealed_token,
                    due_at: to_micros(write.now() + every),
                    asked_at: 0,
                };
                store::provider_refreshes::put_refresh(write.connection(), &row).await?;
                Ok::<_, IdentityError>(())
            })
        });
        kept.await
    }

    /// Makes sure that nobody else takes what this browser brings back.
    pub(super) async fn take_attempt(&self, attempt: &AttemptRow) -> Result<(), IdentityError> {
        let id = attempt.id.clone();
        let taken = self.log.database().write(|write| {
            Box::pin(async move {
                let on = write.connection();
                let taken = store::attempts::move_attempt(
                    on,
                    &id,
                    AttemptStep::Sent,
                    AttemptStep::Taken,
                    0,
                );
                Ok::<_, IdentityError>(taken.await?)
            })
        });
        match taken.await? {
            true => Ok(()),
            false => Err(refused("This answer of the provider was used already.")),
        }
    }

    pub(crate) fn registration(
        &self,
        row: &StoredConnection,
        oidc: &OidcProvider,
        callback_url: &str,
    ) -> Result<ClientRegistration, IdentityError> {
        let callback = callback_url.parse();
        let callback = callback.map_err(|_| IdentityError::invalid("callback_url", "is no URL"))?;
        Ok(ClientRegistration {
            issuer: oidc.issuer.clone(),
            client_id: oidc.client_id.clone(),
            client_secret: self.connections.open_secret(row)?,
            callback: Some(callback),
        })
    }
}

/// Returns the name of the provider's session, if it is short enough to be kept.
fn kept_session(identity: &ProviderIdentity) -> Option<String> {
    let named = identity.provider_session();
    let named = named.filter(|name| name.len() <= LONGEST_PROVIDER_SESSION);
    named.map(str::to_owned)
}
