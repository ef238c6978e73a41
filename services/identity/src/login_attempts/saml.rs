//! The way by a SAML provider.
//!
//! The provider lets the browser post its answer. Such a post comes from another site and without cookies, so that nobody
//! knows whose browser it is: what is verified is kept, and the browser that began the attempt comes for it.

use bowline_proto::{
    addresses::SAML_CONSUMER,
    identity::v1::{
        BeginLoginAttemptRequest, Connection, FinishSamlLoginRequest, FormField,
        GetSamlMetadataRequest, LoginAttempt, TakeSamlResponseRequest, TakeSamlResponseResponse,
    },
};
use bowline_saml::{
    AuthnRequest, Expectation, ExpectedRequest, MessageBinding, ProviderMetadata, SamlError,
    VerifiedAssertion, XmlLimits, verify_response,
};
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{LoginAttempts, NOT_KNOWN, ProviderWay};
use crate::{
    domain::{
        attempt::AttemptStep,
        condition::AskedProof,
        person::refused,
        saml::{clip_refusal, read_person, read_proof},
    },
    error::IdentityError,
    saml::{NAME_ID_FORMATS, saml_provider},
    secrets::{
        KeptAnswer, SamlRequestSecrets, open_answer, open_saml_request, seal_answer,
        seal_saml_request,
    },
    store::{self, attempts::AttemptRow},
};

/// What is said of an answer that no browser waits for.
pub(super) const UNSOLICITED: &str = "This answer belongs to no login that was begun here, or to one that has ended. Begin at the address \
                           that the device shows, not at your provider.";
/// What is said of an answer that comes again.
pub(super) const USED: &str = "This answer of the provider was used already.";

/// Whom an answer must be for.
#[derive(Clone, Copy)]
pub(super) struct AnswerAddress<'a> {
    /// What this server is called at the provider.
    pub(super) entity_id: &'a str,
    /// Where it takes answers.
    pub(super) acs_url: &'a str,
    /// What was asked.
    pub(super) request: ExpectedRequest<'a>,
}

impl LoginAttempts {
    /// Returns the way to the provider and back for one attempt.
    pub(super) async fn begin_saml(
        &self,
        connection: &Connection,
        request: &BeginLoginAttemptRequest,
        id: &str,
        proof: &AskedProof,
    ) -> Result<ProviderWay, IdentityError> {
        let sealing = self.connections.sealing_keys()?;
        let now = self.read_time().await?;
        let providers = self.connections.saml_providers();
        let metadata = providers.find_provider(connection, now).await?;
        let key = self.connections.saml_keys();
        let key = key.open_key(sealing, connection).await?;
        let origin = read_origin(&request.origin)?;
        let secrets = SamlRequestSecrets::make(origin, connection.id);
        let acs_url = format!("{origin}{SAML_CONSUMER}");
        let failed = |problem: String| IdentityError::Saml(connection.name.clone(), problem);
        let (binding, destination) = sign_on(&metadata)
            .ok_or_else(|| failed("its provider has no address to log in at".to_owned()))?;
        let asked = AuthnRequest {
            id: &secrets.request_id,
            issued: now,
            destination,
            entity_id: &secrets.entity_id,
            acs_url: &acs_url,
            name_id_format: saml_provider(connection)?
                .identity_attribute
                .is_empty()
                .then_some(NAME_ID_FORMATS[0]),
            authn_contexts: &proof.classes,
            force_authn: proof.login_again,
        };
        let (redirect_url, fields) = match binding {
            MessageBinding::HttpRedirect => asked
                .to_redirect_url(&secrets.relay_state, &key)
                .map(|url| (url, Vec::new())),
            MessageBinding::HttpPost => asked
                .to_post_form(&secrets.relay_state, &key)
                .map(|form| (form.action, form.fields)),
        }
        .map_err(|error| failed(error.to_string()))?;
        let to_field = |(name, value): (&str, String)| FormField {
            name: name.to_owned(),
            value,
        };
        Ok(ProviderWay {
            state_hash: Sha256::digest(secrets.relay_state.as_bytes()).to_vec(),
            callback_url: acs_url,
            sealed: seal_saml_request(sealing, id, &secrets),
            redirect_url,
            post_fields: fields.into_iter().map(to_field).collect(),
            passkey_options: String::new(),
        })
    }

    /// Writes what the provider of a connection is told about this server.
    pub(crate) async fn write_saml_metadata(
        &self,
        request: GetSamlMetadataRequest,
    ) -> Result<String, IdentityError> {
        let origin = read_origin(&request.origin)?;
        let keys = self.connections.saml_keys();
        let service = keys.describe_service(request.connection_id, origin).await?;
        Ok(service.to_metadata())
    }

    /// Verifies what a browser posts from a provider, and keeps it for the browser that began the attempt.
    pub(crate) async fn take_saml_response(
        &self,
        mut request: TakeSamlResponseRequest,
    ) -> Result<TakeSamlResponseResponse, IdentityError> {
        let relay_state = Zeroizing::new(std::mem::take(&mut request.relay_state));
        let hash = Sha256::digest(relay_state.as_bytes());
        let reader = self.log.database().reader();
        let now = self.read_time().await?;
        let found = store::attempts::find_attempt_of_state(reader, &hash).await?;
        let found = found.filter(|attempt| attempt.expires_at > now);
        let Some(attempt) = found else {
            return self.take_unsolicited(request, now).await;
        };
        if attempt.step != AttemptStep::Sent {
            return Err(refused(USED));
        }
        let row = store::connections::find_connection(reader, attempt.connection_id).await?;
        let connection = row.ok_or(NOT_KNOWN)?.connection;
        let secrets = open_saml_request(self.connections.sealing_keys()?, &attempt)?;
        let address = AnswerAddress {
            entity_id: &secrets.entity_id,
            acs_url: &attempt.callback_url,
            request: ExpectedRequest::Id(&secrets.request_id),
        };
        let assertion = self
            .verify_answer(&connection, address, &request.saml_response, now)
            .await?;
        let answer = KeptAnswer {
            person: read_person(saml_provider(&connection)?, &assertion)?,
            proof: read_proof(&assertion),
        };
        let answer = seal_answer(self.connections.sealing_keys()?, &attempt.id, &answer)?;
        self.keep_answer(&attempt, assertion, answer).await?;
        Ok(TakeSamlResponseResponse {
            attempt_id: attempt.id,
            is_unsolicited: false,
        })
    }

    /// Verifies an answer; once more with the provider's metadata loaded again where it is signed by a key that is not known.
    pub(super) async fn verify_answer(
        &self,
        connection: &Connection,
        address: AnswerAddress<'_>,
        field: &str,
        now: DateTime<Utc>,
    ) -> Result<VerifiedAssertion, IdentityError> {
        let saml = saml_provider(connection)?;
        let verify = |provider: &ProviderMetadata| {
            let expectation = Expectation {
                provider,
                entity_id: address.entity_id,
                acs_url: address.acs_url,
                request: address.request,
                accepts_signed_response: saml.accepts_signed_response,
                authn_contexts: &[],
                authenticated_after: None,
                limits: XmlLimits::default(),
                now,
            };
            verify_response(field, &expectation)
        };
        let providers = self.connections.saml_providers();
        let provider = providers.find_provider(connection, now).await?;
        let verified = match verify(&provider) {
            Err(error @ SamlError::Signature { .. }) => {
                match providers.reload_provider(connection, now).await {
                    Ok(Some(provider)) => verify(&provider),
                    Ok(None) => Err(error),
                    Err(problem) => {
                        tracing::warn!(%problem, connection = connection.id, "metadata can not be loaded again");
                        Err(error)
                    }
                }
            }
            verified => verified,
        };
        verified.map_err(|error| {
            tracing::info!(%error, connection = connection.id, "the answer of a SAML provider is refused");
            match (error, address.request) {
                // It answers a request that is forgotten.
                (SamlError::OtherRequest(_), ExpectedRequest::Unsolicited) => refused(UNSOLICITED),
                (error, _) => refused(&clip_refusal(&error)),
            }
        })
    }

    /// Keeps a verified answer: each assertion once, and each attempt one.
    async fn keep_answer(
        &self,
        attempt: &AttemptRow,
        assertion: VerifiedAssertion,
        answer: Vec<u8>,
    ) -> Result<(), IdentityError> {
        let (id, connection_id) = (attempt.id.clone(), attempt.connection_id);
        let kept = self.log.database().write(|write| {
            Box::pin(async move {
                let on = write.connection();
                let digest = Sha256::digest(assertion.id.as_bytes());
                let until = assertion.replay_until;
                let is_new = store::saml::use_message(on, connection_id, &digest, until).await?;
                match is_new && store::attempts::keep_answer(on, &id, answer).await? {
                    true => Ok(()),
                    false => Err(refused(USED)),
                }
            })
        });
        kept.await
    }

    /// Goes on with an answer that was kept, in the browser that began the attempt.
    pub(crate) async fn finish_saml(
        &self,
        request: FinishSamlLoginRequest,
    ) -> Result<LoginAttempt, IdentityError> {
        let reader = self.log.database().reader();
        let found = store::attempts::find_attempt(reader, &request.attempt_id).await?;
        let found = self.bind_unsolicited(found, &request.browser).await?;
        let attempt = self.check_own(found, &request.browser).await?;
        let (AttemptStep::Answered, Some(answer)) = (attempt.step, &attempt.answer) else {
            return Err(refused(USED));
        };
        let KeptAnswer { person, proof } =
            open_answer(self.connections.sealing_keys()?, &attempt.id, answer)?;
        let row = store::connections::find_connection(reader, attempt.connection_id).await?;
        let connection = row.ok_or(NOT_KNOWN)?.connection;
        let from = AttemptStep::Answered;
        self.identify_attempt(&attempt, from, connection, person, proof)
            .await
    }
}

/// Returns where people are sent: by redirect where the provider has that, since its request is shorter.
fn sign_on(metadata: &ProviderMetadata) -> Option<(MessageBinding, &str)> {
    [MessageBinding::HttpRedirect, MessageBinding::HttpPost]
        .into_iter()
        .find_map(|binding| Some((binding, metadata.sign_on_url(binding)?)))
}

/// Returns the URL that browsers reach this server by, without what comes behind the host.
pub(super) fn read_origin(origin: &str) -> Result<&str, IdentityError> {
    let is_url = url::Url::parse(origin).is_ok_and(|url| url.has_host());
    match is_url && !origin.ends_with('/') {
        true => Ok(origin),
        false => Err(IdentityError::invalid(
            "origin",
            "is no URL such as https://bowline.example.com: bring the gateways to this release",
        )),
    }
}
