//! What binds a login at a provider, made here and sealed until the browser comes back.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bowline_clock::random_bytes;
use bowline_oidc::LoginSecrets;
use bowline_proto::addresses::saml_metadata_path;
use bowline_saml::request_id;
use bowline_sealing::{SealingError, SealingKeys};
use zeroize::Zeroizing;

use serde::{Deserialize, Serialize};

use crate::{
    domain::{condition::LoginProof, person::Person},
    error::IdentityError,
    store::attempts::AttemptRow,
};

/// Makes secrets of 256 bits each.
pub(crate) fn random_secrets() -> LoginSecrets {
    let random = || Zeroizing::new(URL_SAFE_NO_PAD.encode(*Zeroizing::new(random_bytes::<32>())));
    LoginSecrets {
        state: random(),
        nonce: random(),
        verifier: random(),
    }
}

pub(crate) fn place(attempt_id: &str) -> String {
    format!("login_attempts/{attempt_id}")
}

/// Seals nonce and verifier; the state is only kept as a hash.
pub(crate) fn seal_login_secrets(
    keys: &SealingKeys,
    attempt_id: &str,
    secrets: &LoginSecrets,
) -> Vec<u8> {
    let text = Zeroizing::new(format!("{}\n{}", *secrets.nonce, *secrets.verifier));
    keys.seal(&place(attempt_id), text.as_bytes())
}

/// Opens what was sealed, and puts the state beside that the browser has brought back.
pub(crate) fn open_login_secrets(
    keys: &SealingKeys,
    attempt: &AttemptRow,
    state: Zeroizing<String>,
) -> Result<LoginSecrets, IdentityError> {
    let opened = keys.open(&place(&attempt.id), &attempt.sealed);
    let opened = opened.map_err(cannot_open)?;
    let text = String::from_utf8_lossy(&opened);
    let (nonce, verifier) = text.split_once('\n').unwrap_or_default();
    Ok(LoginSecrets {
        state,
        nonce: Zeroizing::new(nonce.to_owned()),
        verifier: Zeroizing::new(verifier.to_owned()),
    })
}

/// What binds a login at a SAML provider.
pub(crate) struct SamlRequestSecrets {
    /// Comes back with the browser: finds the login.
    pub(crate) relay_state: Zeroizing<String>,
    /// The id of the request, which the answer must name.
    pub(crate) request_id: String,
    /// What this server is called at the provider.
    pub(crate) entity_id: String,
}

impl SamlRequestSecrets {
    /// Makes them for a login by a connection.
    pub(crate) fn make(origin: &str, connection_id: u64) -> Self {
        let random = Zeroizing::new(random_bytes::<32>());
        Self {
            relay_state: Zeroizing::new(URL_SAFE_NO_PAD.encode(*random)),
            request_id: request_id(random_bytes()),
            entity_id: service_entity_id(origin, connection_id),
        }
    }
}

/// Returns what this server is called at the provider of a connection.
pub(crate) fn service_entity_id(origin: &str, connection_id: u64) -> String {
    format!("{origin}{}", saml_metadata_path(connection_id))
}

/// Seals all but the relay state, which is only kept as a hash.
pub(crate) fn seal_saml_request(
    keys: &SealingKeys,
    attempt_id: &str,
    secrets: &SamlRequestSecrets,
) -> Vec<u8> {
    let text = format!("{}\n{}", secrets.request_id, secrets.entity_id);
    keys.seal(&place(attempt_id), text.as_bytes())
}

/// Opens what was sealed; without the relay state.
pub(crate) fn open_saml_request(
    keys: &SealingKeys,
    attempt: &AttemptRow,
) -> Result<SamlRequestSecrets, IdentityError> {
    let opened = keys.open(&place(&attempt.id), &attempt.sealed);
    let opened = opened.map_err(cannot_open)?;
    let text = String::from_utf8_lossy(&opened);
    let (request_id, entity_id) = text.split_once('\n').unwrap_or_default();
    Ok(SamlRequestSecrets {
        relay_state: Zeroizing::default(),
        request_id: request_id.to_owned(),
        entity_id: entity_id.to_owned(),
    })
}

pub(crate) fn answer_place(attempt_id: &str) -> String {
    format!("login_attempts/{attempt_id}/answer")
}

/// What a provider says of a person, and of the login there.
#[derive(Deserialize, Serialize)]
pub(crate) struct KeptAnswer {
    pub(crate) person: Person,
    pub(crate) proof: LoginProof,
}

/// Seals what a provider says of a person.
pub(crate) fn seal_answer(
    keys: &SealingKeys,
    attempt_id: &str,
    answer: &KeptAnswer,
) -> Result<Vec<u8>, IdentityError> {
    let text = serde_json::to_vec(answer).map_err(|error| cannot_keep(&error))?;
    Ok(keys.seal(&answer_place(attempt_id), &Zeroizing::new(text)))
}

/// Opens what a provider says of a person.
pub(crate) fn open_answer(
    keys: &SealingKeys,
    attempt_id: &str,
    answer: &[u8],
) -> Result<KeptAnswer, IdentityError> {
    let opened = keys.open(&answer_place(attempt_id), answer);
    serde_json::from_slice(&opened.map_err(cannot_open)?).map_err(|error| cannot_keep(&error))
}

pub(crate) fn tokens_place(attempt_id: &str) -> String {
    format!("login_attempts/{attempt_id}/tokens")
}

/// What an OpenID Connect provider gives with a login, for when the login ends.
#[derive(Deserialize, Serialize)]
pub(crate) struct KeptTokens {
    /// The provider's session.
    pub(crate) provider_session: Option<String>,
    /// The ID token, as the provider has signed it.
    pub(crate) id_token: Zeroizing<String>,
}

/// Seals what a provider gives with a login.
pub(crate) fn seal_tokens(
    keys: &SealingKeys,
    attempt_id: &str,
    tokens: &KeptTokens,
) -> Result<Vec<u8>, IdentityError> {
    let text = serde_json::to_vec(tokens).map_err(|error| cannot_keep(&error))?;
    Ok(keys.seal(&tokens_place(attempt_id), &Zeroizing::new(text)))
}

/// Opens what a provider gave with a login.
pub(crate) fn open_tokens(
    keys: &SealingKeys,
    attempt_id: &str,
    sealed: &[u8],
) -> Result<KeptTokens, IdentityError> {
    let opened = keys.open(&tokens_place(attempt_id), sealed);
    serde_json::from_slice(&opened.map_err(cannot_open)?).map_err(|error| cannot_keep(&error))
}

pub(crate) fn id_token_place(session_id: &str) -> String {
    format!("sessions/{session_id}/id_token")
}

/// Seals an ID token for as long as a session lasts.
pub(crate) fn seal_id_token(keys: &SealingKeys, session_id: &str, id_token: &str) -> Vec<u8> {
    keys.seal(&id_token_place(session_id), id_token.as_bytes())
}

/// Opens an ID token; `None` when the key that sealed it is gone.
pub(crate) fn open_id_token(
    keys: &SealingKeys,
    session_id: &str,
    sealed: &[u8],
) -> Option<Zeroizing<String>> {
    let opened = keys.open(&id_token_place(session_id), sealed).ok()?;
    let text = std::str::from_utf8(&opened).ok()?;
    Some(Zeroizing::new(text.to_owned()))
}

pub(crate) fn refresh_token_place(connection_id: u64, subject: &str) -> String {
    format!("provider_refreshes/{connection_id}/{subject}")
}

/// Seals what a provider is asked by about a person.
pub(crate) fn seal_refresh_token(
    keys: &SealingKeys,
    connection_id: u64,
    subject: &str,
    token: &str,
) -> Vec<u8> {
    keys.seal(
        &refresh_token_place(connection_id, subject),
        token.as_bytes(),
    )
}

/// Opens what a provider is asked by about a person.
pub(crate) fn open_refresh_token(
    keys: &SealingKeys,
    connection_id: u64,
    subject: &str,
    sealed: &[u8],
) -> Result<Zeroizing<String>, IdentityError> {
    let opened = keys.open(&refresh_token_place(connection_id, subject), sealed);
    let opened = opened
        .map_err(|error| IdentityError::Sealed("a login at the provider".to_owned(), error))?;
    Ok(Zeroizing::new(
        String::from_utf8_lossy(&opened).into_owned(),
    ))
}

fn cannot_keep(error: &serde_json::Error) -> IdentityError {
    let of = "of the login attempt".to_owned();
    IdentityError::Saml(of, error.to_string())
}

fn cannot_open(error: SealingError) -> IdentityError {
    IdentityError::Sealed("the login attempt".to_owned(), error)
}
