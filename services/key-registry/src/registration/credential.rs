//! What a client without a bound key presents, and whom it stands for.

use bowline_db::ChangeLog;
use bowline_proto::{
    identity::v1::{Device, LoginState, StartLoginRequest, Tailnet, User},
    key_registry::v1::{LoginNeeded, RefusalReason, RegisterRequest, register_response::Outcome},
};
use chrono::{DateTime, Utc};

use super::{
    answers::{refuse, refuse_barred_user},
    questions::SharedQuestions,
};
use crate::{
    asked_services::AskedServices,
    domain::pre_auth_key,
    error::RegistryError,
    store::{nodes, presented_keys::StoredPreAuthKey},
};

/// A credential that was good a moment ago; what can be used up is checked again in the transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct Credential {
    pub(super) tailnet: Tailnet,
    /// Whose node it is; `None` for a key without user.
    pub(super) user: Option<User>,
    /// The tags a key gives.
    pub(super) tags: Vec<String>,
    pub(super) ephemeral: bool,
    /// Whether the machine needs no approval.
    pub(super) approved: bool,
    /// The pre-auth key to count.
    pub(super) pre_auth_key: Option<String>,
    /// The login that makes the node, once.
    pub(super) login_id: Option<String>,
    /// The revision of identity's log that the user was good at.
    pub(super) identity_revision: u64,
}

/// What a check of a request's credentials found.
pub(super) enum CredentialOutcome {
    /// A credential that is good.
    Credential(Box<Credential>),
    /// What the client is answered without one.
    Answer(Box<Outcome>),
}

impl CredentialOutcome {
    fn from_answer(outcome: Outcome) -> Self {
        Self::Answer(Box::new(outcome))
    }
}

/// Checks credentials. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    log: ChangeLog,
    services: AskedServices,
    questions: SharedQuestions,
}

impl Credentials {
    pub(super) fn new(log: ChangeLog, services: AskedServices, questions: SharedQuestions) -> Self {
        Self {
            log,
            services,
            questions,
        }
    }

    /// Checks what a request presents: a pre-auth key, of which `named_key` has the number, or a login that it follows up; without either it starts a login.
    pub(super) async fn check_request(
        &self,
        request: &RegisterRequest,
        named_key: Option<StoredPreAuthKey>,
        now: DateTime<Utc>,
    ) -> Result<CredentialOutcome, RegistryError> {
        if !request.pre_auth_key.is_empty() {
            let text = &request.pre_auth_key;
            return self.check_pre_auth_key(text, named_key, now).await;
        }
        if !request.login_id.is_empty()
            && let Some(outcome) = self.check_login(request).await?
        {
            return Ok(outcome);
        }
        self.start_login(request)
            .await
            .map(CredentialOutcome::from_answer)
    }

    async fn check_pre_auth_key(
        &self,
        text: &str,
        named_key: Option<StoredPreAuthKey>,
        now: DateTime<Utc>,
    ) -> Result<CredentialOutcome, RegistryError> {
        let invalid = || {
            let text =
                "the auth key is not valid: check that it was copied whole, or ask for another";
            let answer = refuse(RefusalReason::PreAuthKeyInvalid, text);
            Ok(CredentialOutcome::from_answer(answer))
        };
        let Some(presented) = pre_auth_key::parse_key(text) else {
            return invalid();
        };
        let Some(StoredPreAuthKey { key, hash }) = named_key else {
            return invalid();
        };
        if !presented.matches(&hash) {
            return invalid();
        }
        if let Some((reason, text)) = pre_auth_key::find_refusal(&key, now) {
            return Ok(CredentialOutcome::from_answer(refuse(reason, text)));
        }
        let credential = Credential {
            tags: key.tags,
            ephemeral: key.ephemeral,
            approved: key.pre_approved,
            pre_auth_key: Some(key.id),
            ..Credential::default()
        };
        self.resolve_owner(credential, key.tailnet_id, key.user_id)
            .await
    }

    /// Returns what a followed-up login stands for; `None` when a new one has to be started.
    async fn check_login(
        &self,
        request: &RegisterRequest,
    ) -> Result<Option<CredentialOutcome>, RegistryError> {
        let Some(login) = self.services.find_login(&request.login_id).await? else {
            return Ok(None);
        };
        if (&login.machine_key, &login.node_key) != (&request.machine_key, &request.node_key) {
            // Somebody follows up another device's login: it learns nothing of it.
            return Ok(None);
        }
        let outcome = match login.state() {
            LoginState::Pending => {
                let needed = LoginNeeded { login_id: login.id };
                CredentialOutcome::from_answer(Outcome::LoginNeeded(needed))
            }
            LoginState::Denied => {
                let refused = refuse(RefusalReason::LoginDenied, login.denial);
                CredentialOutcome::from_answer(refused)
            }
            LoginState::Approved => {
                let credential = Credential {
                    login_id: Some(login.id),
                    ..Credential::default()
                };
                self.resolve_owner(credential, login.tailnet_id, login.user_id)
                    .await?
            }
            LoginState::Expired | LoginState::Unspecified => return Ok(None),
        };
        Ok(Some(outcome))
    }

    /// Says whether the machine has a node, so that it asks for a new key. The key before is not asked about: a client need not
    /// name it.
    async fn has_node(&self, request: &RegisterRequest) -> Result<bool, RegistryError> {
        let reader = self.log.database().reader();
        Ok(nodes::has_machine(reader, &request.machine_key).await?)
    }

    async fn start_login(&self, request: &RegisterRequest) -> Result<Outcome, RegistryError> {
        let device = Device {
            hostname: request.hostname.clone(),
            os: request.os.clone(),
            client_version: request.client_version.clone(),
            source_address: request.source_address.clone(),
            required_tailnet: request.required_tailnet.clone(),
            requested_tags: request.requested_tags.clone(),
            advertised_routes: request.advertised_routes.clone(),
            renews: self.has_node(request).await?,
        };
        let question = StartLoginRequest {
            machine_key: request.machine_key.clone(),
            node_key: request.node_key.clone(),
            device: Some(device),
        };
        let login = self.services.start_login(question).await?;
        Ok(Outcome::LoginNeeded(LoginNeeded { login_id: login.id }))
    }

    /// Completes a credential with its tailnet and user, as identity has them now.
    pub(super) async fn resolve_owner(
        &self,
        mut credential: Credential,
        tailnet_id: u64,
        user_id: u64,
    ) -> Result<CredentialOutcome, RegistryError> {
        let gone = || Ok(CredentialOutcome::from_answer(refuse_barred_user()));
        if user_id == 0 {
            match self.questions.resolve_tailnet(tailnet_id).await? {
                Some(tailnet) => credential.tailnet = tailnet,
                None => return gone(),
            }
            return Ok(CredentialOutcome::Credential(Box::new(credential)));
        }
        match self.questions.resolve_user(tailnet_id, user_id).await? {
            Some(found) if !found.user.suspended => {
                credential.tailnet = found.tailnet;
                credential.user = Some(found.user);
                credential.identity_revision = found.revision;
                Ok(CredentialOutcome::Credential(Box::new(credential)))
            }
            _ => gone(),
        }
    }
}
