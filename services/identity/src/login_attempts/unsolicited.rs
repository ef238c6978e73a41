//! Logins that a SAML provider begins, where a connection lets it: a tile on its page, say.
//!
//! Nobody here has asked for such an answer, so anybody can lead a browser to one, with an answer about somebody else. It is
//! therefore kept for the first browser that comes for it, opens no more than a session in that browser, and only once the
//! person has seen who he or she is to be and has pressed a button.

use bowline_clock::random_bytes;
use bowline_ids::LoginId;
use bowline_proto::{
    addresses::{SAML_CONSUMER, connection_of_metadata_path},
    identity::v1::{
        Connection, Login, TakeSamlResponseRequest, TakeSamlResponseResponse, connection::Provider,
    },
};
use bowline_saml::{ExpectedRequest, VerifiedAssertion, XmlLimits, claimed_audiences};
use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};

use super::{
    LoginAttempts, NOT_KNOWN, check_browser,
    saml::{AnswerAddress, UNSOLICITED, USED, read_origin},
};
use crate::{
    domain::{
        attempt::{self, AttemptStep},
        login,
        person::refused,
        saml::{read_person, read_proof},
    },
    error::IdentityError,
    logins::insert_login,
    saml::saml_provider,
    secrets::{KeptAnswer, seal_answer, service_entity_id},
    store::{self, attempts::AttemptRow},
};

impl LoginAttempts {
    /// Verifies an answer that nobody asked for, and keeps it for the browser that comes for it.
    pub(super) async fn take_unsolicited(
        &self,
        request: TakeSamlResponseRequest,
        now: DateTime<Utc>,
    ) -> Result<TakeSamlResponseResponse, IdentityError> {
        // A gateway of an earlier release says nothing.
        if request.origin.is_empty() {
            return Err(refused(UNSOLICITED));
        }
        let browser = request.description.clone().unwrap_or_default();
        // Anybody can send what takes long to read.
        self.logins.take_turn(&browser.source_address)?;
        let connection = self.find_addressee(&request).await?;
        let connection = connection.ok_or_else(|| refused(UNSOLICITED))?;
        let origin = read_origin(&request.origin)?;
        let entity_id = service_entity_id(origin, connection.id);
        let acs_url = format!("{origin}{SAML_CONSUMER}");
        let address = AnswerAddress {
            entity_id: &entity_id,
            acs_url: &acs_url,
            request: ExpectedRequest::Unsolicited,
        };
        let assertion = self
            .verify_answer(&connection, address, &request.saml_response, now)
            .await?;
        let answer = KeptAnswer {
            person: read_person(saml_provider(&connection)?, &assertion)?,
            proof: read_proof(&assertion),
        };
        let id = LoginId::from_random(random_bytes()).to_string();
        let answer = seal_answer(self.connections.sealing_keys()?, &id, &answer)?;
        let login_id = LoginId::from_random(random_bytes()).to_string();
        // No browser is known yet.
        let nobody = random_bytes::<32>().to_vec();
        let login = login::new_of_browser(login_id.clone(), nobody, browser, now)?;
        let made = AttemptRow {
            id: id.clone(),
            login_id,
            tailnet_id: connection.tailnet_id,
            connection_id: connection.id,
            browser: Vec::new(),
            state_hash: random_bytes::<32>().to_vec(),
            step: AttemptStep::Sent,
            user_id: 0,
            callback_url: String::new(),
            sealed: Vec::new(),
            answer: Some(answer),
            asked: None,
            expires_at: now + attempt::LIFETIME,
        };
        self.keep_unsolicited(login, made, assertion).await?;
        Ok(TakeSamlResponseResponse {
            attempt_id: id,
            is_unsolicited: true,
        })
    }

    /// Returns the connection that an answer says it is for, where its provider may begin logins.
    async fn find_addressee(
        &self,
        request: &TakeSamlResponseRequest,
    ) -> Result<Option<Connection>, IdentityError> {
        let audiences = claimed_audiences(&request.saml_response, &XmlLimits::default());
        let read_id = |audience: String| {
            let path = audience.strip_prefix(&request.origin)?;
            connection_of_metadata_path(path)
        };
        let Some(id) = audiences.unwrap_or_default().into_iter().find_map(read_id) else {
            return Ok(None);
        };
        let reader = self.log.database().reader();
        let row = store::connections::find_connection(reader, id).await?;
        let connection = row.map(|row| row.connection);
        Ok(connection.filter(|connection| {
            matches!(&connection.provider, Some(Provider::Saml(saml)) if saml.accepts_unsolicited)
        }))
    }

    /// Keeps a verified answer with a login of its own: each assertion once.
    async fn keep_unsolicited(
        &self,
        login: Login,
        made: AttemptRow,
        assertion: VerifiedAssertion,
    ) -> Result<(), IdentityError> {
        let kept = self.log.database().write(|write| {
            Box::pin(async move {
                let digest = Sha256::digest(assertion.id.as_bytes());
                let (connection_id, until) = (made.connection_id, assertion.replay_until);
                let on = write.connection();
                if !store::saml::use_message(on, connection_id, &digest, until).await? {
                    return Err(refused(USED));
                }
                insert_login(write, login).await?;
                let on = write.connection();
                store::attempts::insert_attempt(on, &made).await?;
                let answer = made.answer.unwrap_or_default();
                match store::attempts::keep_answer(on, &made.id, answer).await? {
                    true => Ok(()),
                    false => Err(NOT_KNOWN),
                }
            })
        });
        kept.await
    }

    /// Gives an attempt that its provider began to the first browser that comes for it.
    pub(super) async fn bind_unsolicited(
        &self,
        found: Option<AttemptRow>,
        browser: &[u8],
    ) -> Result<Option<AttemptRow>, IdentityError> {
        check_browser(browser)?;
        let Some(mut attempt) = found else {
            return Ok(None);
        };
        if !attempt.is_unsolicited() || !attempt.browser.is_empty() {
            return Ok(Some(attempt));
        }
        let (id, own) = (attempt.id.clone(), browser.to_vec());
        let bound = self.log.database().write(|write| {
            Box::pin(async move {
                let bound = store::attempts::bind_browser(write.connection(), &id, own);
                Ok::<_, IdentityError>(bound.await?)
            })
        });
        if bound.await? {
            attempt.browser = browser.to_vec();
        }
        Ok(Some(attempt))
    }
}
