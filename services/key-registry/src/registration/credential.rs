//! What a client without a bound key presents, and whom it stands for.

use bowline_proto::{
    identity::v1::{
        Device, GetLoginRequest, LoginState, ResolveTailnetRequest, ResolveUserRequest,
        StartLoginRequest, Tailnet, User, identity_service_client::IdentityServiceClient,
        login_service_client::LoginServiceClient,
    },
    key_registry::v1::{LoginNeeded, RefusalReason, RegisterRequest, register_response::Outcome},
};
use chrono::{DateTime, Utc};
use tonic::Code;

use super::refuse;
use crate::{KeyRegistry, domain::pre_auth_key, error::RegistryError, store::pre_auth_keys};

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

/// What was found of a credential.
pub(super) enum CredentialOutcome {
    Credential(Box<Credential>),
    Answer(Box<Outcome>),
}

impl CredentialOutcome {
    fn from_answer(outcome: Outcome) -> Self {
        Self::Answer(Box::new(outcome))
    }
}

/// Returns what a device is told whose user may have no nodes.
pub(super) fn refuse_gone_user() -> Outcome {
    let text = "the user of these credentials is gone or suspended: ask an administrator";
    refuse(RefusalReason::UserSuspended, text)
}

impl KeyRegistry {
    pub(super) async fn find_credential(
        &self,
        request: &RegisterRequest,
        now: DateTime<Utc>,
    ) -> Result<CredentialOutcome, RegistryError> {
        if !request.pre_auth_key.is_empty() {
            return self.check_pre_auth_key(&request.pre_auth_key, now).await;
        }
        if !request.login_id.is_empty()
            && let Some(found) = self.check_login(request).await?
        {
            return Ok(found);
        }
        self.start_login(request)
            .await
            .map(CredentialOutcome::from_answer)
    }

    async fn check_pre_auth_key(
        &self,
        text: &str,
        now: DateTime<Utc>,
    ) -> Result<CredentialOutcome, RegistryError> {
        let invalid = || {
            let text =
                "the auth key is not valid: check that it was copied whole, or ask for another";
            Ok(CredentialOutcome::from_answer(refuse(
                RefusalReason::PreAuthKeyInvalid,
                text,
            )))
        };
        let Some(id) = pre_auth_key::parse_id(text) else {
            return invalid();
        };
        let found = pre_auth_keys::by_id(self.log.database().reader(), id).await?;
        let Some((key, hash)) = found else {
            return invalid();
        };
        if !pre_auth_key::matches_hash(text, &hash) {
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
        let mut identity = LoginServiceClient::new(self.peers.identity.clone());
        let question = GetLoginRequest {
            login_id: request.login_id.clone(),
        };
        let login = match identity.get_login(question).await {
            Ok(answer) => answer.into_inner().login.unwrap_or_default(),
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(RegistryError::from_service("identity")(status)),
        };
        if (&login.machine_key, &login.node_key) != (&request.machine_key, &request.node_key) {
            // Somebody follows up another device's login: it learns nothing of it.
            return Ok(None);
        }
        Ok(match login.state() {
            LoginState::Pending => {
                let needed = LoginNeeded { login_id: login.id };
                Some(CredentialOutcome::from_answer(Outcome::LoginNeeded(needed)))
            }
            LoginState::Denied => {
                let verdict = refuse(RefusalReason::LoginDenied, login.denial);
                Some(CredentialOutcome::from_answer(verdict))
            }
            LoginState::Approved => {
                let credential = Credential {
                    login_id: Some(login.id),
                    ..Credential::default()
                };
                Some(
                    self.resolve_owner(credential, login.tailnet_id, login.user_id)
                        .await?,
                )
            }
            LoginState::Expired | LoginState::Unspecified => None,
        })
    }

    async fn start_login(&self, request: &RegisterRequest) -> Result<Outcome, RegistryError> {
        let mut identity = LoginServiceClient::new(self.peers.identity.clone());
        let device = Device {
            hostname: request.hostname.clone(),
            os: request.os.clone(),
            client_version: request.client_version.clone(),
            source_address: request.source_address.clone(),
            required_tailnet: request.required_tailnet.clone(),
        };
        let question = StartLoginRequest {
            machine_key: request.machine_key.clone(),
            node_key: request.node_key.clone(),
            device: Some(device),
        };
        let answer = identity.start_login(question).await;
        let login = answer
            .map_err(RegistryError::from_service("identity"))?
            .into_inner()
            .login;
        Ok(Outcome::LoginNeeded(LoginNeeded {
            login_id: login.unwrap_or_default().id,
        }))
    }

    /// Completes a credential with its tailnet and user, as identity has them now.
    async fn resolve_owner(
        &self,
        mut credential: Credential,
        tailnet_id: u64,
        user_id: u64,
    ) -> Result<CredentialOutcome, RegistryError> {
        let mut identity = IdentityServiceClient::new(self.peers.identity.clone());
        let gone = || Ok(CredentialOutcome::from_answer(refuse_gone_user()));
        if user_id == 0 {
            let question = ResolveTailnetRequest {
                tailnet_id,
                name: String::new(),
            };
            match identity.resolve_tailnet(question).await {
                Ok(answer) => credential.tailnet = answer.into_inner().tailnet.unwrap_or_default(),
                Err(status) if status.code() == Code::NotFound => return gone(),
                Err(status) => return Err(RegistryError::from_service("identity")(status)),
            }
            return Ok(CredentialOutcome::Credential(Box::new(credential)));
        }
        let question = ResolveUserRequest {
            tailnet_id,
            user_id,
        };
        let answer = match identity.resolve_user(question).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if status.code() == Code::NotFound => return gone(),
            Err(status) => return Err(RegistryError::from_service("identity")(status)),
        };
        if answer.user.as_ref().is_none_or(|user| user.suspended) {
            return gone();
        }
        credential.tailnet = answer.tailnet.unwrap_or_default();
        credential.user = answer.user;
        credential.identity_revision = answer.revision;
        Ok(CredentialOutcome::Credential(Box::new(credential)))
    }
}
