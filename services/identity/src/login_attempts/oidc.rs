//! The way by an OpenID Connect provider.

use std::time::Duration;

use bowline_oidc::{ClientRegistration, FinishRequest, FinishedLogin, StartRequest};
use bowline_proto::identity::v1::{
    BeginLoginAttemptRequest, FinishOidcLoginRequest, LoginAttempt, OidcProvider,
};
use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{
    LoginAttempts, ProviderWay,
    provider::{oidc_provider, provider_refusal, read_proof, scopes_of},
};
use crate::{
    domain::{attempt::AttemptStep, condition::AskedProof, person::refused},
    error::IdentityError,
    person::read_person,
    secrets::{KeptTokens, open_login_secrets, random_secrets, seal_login_secrets, seal_tokens},
    store::{
        self, attempts::AttemptRow, connections::StoredConnection,
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
        request: FinishOidcLoginRequest,
    ) -> Result<LoginAttempt, IdentityError> {
        let state = Zeroizing::new(request.state);
        let hash = Sha256::digest(state.as_bytes());
        let reader = self.log.database().reader();
        let found = store::attempts::find_attempt_of_state(reader, &hash).await?;
        let attempt = self.check_own(found, &request.browser).await?;
        self.take_attempt(&attempt).await?;
        if request.code.is_empty() {
            return Err(provider_refusal(&request.error, &request.error_description));
        }
        let row = store::connections::find_connection(reader, attempt.connection_id).await?;
        let row = row.ok_or(IdentityError::NotFound("connection"))?;
        let oidc = oidc_provider(&row.connection)?;
        let registration = self.registration(&row, oidc, &attempt.callback_url)?;
        let secrets = open_login_secrets(self.connections.sealing_keys()?, &attempt, state)?;
        let mut wanted_claims = vec!["email".to_owned()];
        if !oidc.groups_claim.is_empty() {
            wanted_claims.push(oidc.groups_claim.clone());
        }
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
        self.keep_provider_login(&attempt, &finished).await?;
        self.identify_attempt(&attempt, AttemptStep::Taken, row.connection, person, proof)
            .await
    }

    /// Keeps what ends with the login at the provider: the session that the login opens may be ended there.
    async fn keep_provider_login(
        &self,
        attempt: &AttemptRow,
        finished: &FinishedLogin,
    ) -> Result<(), IdentityError> {
        let subject = finished.identity.subject.clone();
        let named = finished.identity.provider_session();
        let tokens = KeptTokens {
            provider_session: named
                .filter(|name| name.len() <= LONGEST_PROVIDER_SESSION)
                .map(str::to_owned),
            id_token: finished.id_token.clone(),
        };
        let sealed = seal_tokens(self.connections.sealing_keys()?, &attempt.id, &tokens)?;
        let (id, connection_id) = (attempt.id.clone(), attempt.connection_id);
        let kept = self.log.database().write(|write| {
            Box::pin(async move {
                let (now, on) = (write.now(), write.connection());
                store::attempts::keep_tokens(on, &id, sealed).await?;
                if let Some(provider_session) = &tokens.provider_session {
                    let key = ProviderSessionKey {
                        connection_id,
                        provider_session,
                    };
                    let until = now + KEPT_PROVIDER_SESSION;
                    store::provider_sessions::put_provider_session(on, key, &subject, until)
                        .await?;
                }
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
