//! One login: where a browser is sent, and what is believed when it comes back.

use std::time::Duration;

use chrono::{DateTime, Utc};
use openidconnect::{
    AccessTokenHash, AuthenticationContextClass, AuthorizationCode, ClaimsVerificationError,
    CsrfToken, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier,
    RequestTokenError, Scope, SignatureVerificationError, TokenResponse as _,
    core::{CoreAuthPrompt, CoreAuthenticationFlow, CoreJwsSigningAlgorithm},
};
use serde_json::{Map, Value};
use tokio::time::timeout;
use url::Url;
use zeroize::Zeroizing;

use crate::{
    ClientRegistration, OidcError, Providers,
    error::{clean_problem, describe_problem},
    find_claim,
    id_token::check_claims,
    provider::Provider,
    pushed::push_request,
    types::Tokens,
    user_info::add_user_info,
};

/// The signatures that are believed: with a key pair, so that only the provider can make them.
pub(crate) const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// How long one step of a login may take: less than a call of this service may, so that a caller is told what is wrong.
const LONGEST_STEP: Duration = Duration::from_secs(9);
/// The longest refresh token that is kept, in bytes.
const LONGEST_REFRESH_TOKEN: usize = 16 << 10;

/// What one login is bound by. The caller makes it from random bytes and keeps it until the browser comes back.
#[derive(Clone, Debug)]
pub struct LoginSecrets {
    /// Comes back with the browser: finds the login.
    pub state: Zeroizing<String>,
    /// Comes back inside the ID token: it was made for this login.
    pub nonce: Zeroizing<String>,
    /// PKCE: only who began the login can use the code. 43 to 128 characters.
    pub verifier: Zeroizing<String>,
}

/// What a login begins with.
#[derive(Clone, Debug)]
pub struct StartRequest<'a> {
    /// This server at the provider.
    pub registration: &'a ClientRegistration,
    /// Scopes beside `openid`.
    pub scopes: &'a [String],
    /// What binds the login.
    pub secrets: &'a LoginSecrets,
    /// Classes of authentication that are asked for, best first. What the provider makes of them says the claim `acr`.
    pub acr_values: &'a [String],
    /// How long ago the person may have logged in there; the claim `auth_time` says when that was.
    pub max_age: Option<Duration>,
    /// The person is to log in there anew.
    pub login_again: bool,
}

/// What a browser comes back with, and what its login was begun with.
#[derive(Clone, Debug)]
pub struct FinishRequest<'a> {
    /// This server at the provider.
    pub registration: &'a ClientRegistration,
    /// What binds the login.
    pub secrets: &'a LoginSecrets,
    /// The code.
    pub code: &'a str,
    /// The issuer in the answer (RFC 9207); empty when it names none.
    pub issuer: &'a str,
    /// Claims that are needed: the provider's userinfo is asked for those that the ID token does not have.
    pub wanted_claims: &'a [String],
    /// The time.
    pub now: DateTime<Utc>,
}

/// Who a person is, as the provider says and signs.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderIdentity {
    /// The provider.
    pub issuer: String,
    /// The person at the provider: never anybody else's, and never changed.
    pub subject: String,
    /// All claims.
    pub claims: Map<String, Value>,
}

impl ProviderIdentity {
    /// Returns the mail address, if the provider says that it is the person's.
    #[must_use]
    pub fn verified_email(&self) -> Option<&str> {
        let is_verified = match self.claims.get("email_verified") {
            Some(Value::Bool(verified)) => *verified,
            Some(Value::String(text)) => text == "true",
            _ => false,
        };
        self.email().filter(|_| is_verified)
    }

    /// Returns the provider's session, where it names one.
    #[must_use]
    pub fn provider_session(&self) -> Option<&str> {
        self.text_claim("sid")
    }

    /// Returns the mail address, whoever's it is.
    #[must_use]
    pub fn email(&self) -> Option<&str> {
        self.text_claim("email")
    }

    /// Returns a claim that is one text which is not empty.
    #[must_use]
    pub fn text_claim(&self, name: &str) -> Option<&str> {
        self.claims
            .get(name)?
            .as_str()
            .filter(|text| !text.is_empty())
    }
}

/// A login that has gone well.
#[derive(Clone, Debug)]
pub struct FinishedLogin {
    /// Who the person is.
    pub identity: ProviderIdentity,
    /// The ID token as the provider has signed it.
    pub id_token: Zeroizing<String>,
    /// What the provider is asked by later, where it gives one.
    pub refresh_token: Option<Zeroizing<String>>,
}

/// Returns where the browser is sent.
///
/// # Errors
///
/// When the provider can not be asked what it publishes.
pub async fn start_login(
    providers: &Providers,
    request: StartRequest<'_>,
) -> Result<Url, OidcError> {
    let issuer = &request.registration.issuer;
    limit_step(issuer, ask_for_login(providers, &request)).await
}

async fn ask_for_login(
    providers: &Providers,
    request: &StartRequest<'_>,
) -> Result<Url, OidcError> {
    let StartRequest {
        registration,
        scopes,
        secrets,
        acr_values,
        max_age,
        login_again,
    } = *request;
    let provider = providers.find_provider(registration).await?;
    let verifier = PkceCodeVerifier::new(secrets.verifier.to_string());
    let state = CsrfToken::new(secrets.state.to_string());
    let nonce = Nonce::new(secrets.nonce.to_string());
    let mut asked = provider
        .client
        .authorize_url(
            CoreAuthenticationFlow::AuthorizationCode,
            move || state.clone(),
            move || nonce.clone(),
        )
        .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
        .add_scopes(scopes.iter().cloned().map(Scope::new));
    for class in acr_values {
        asked = asked.add_auth_context_value(AuthenticationContextClass::new(class.clone()));
    }
    if let Some(age) = max_age {
        asked = asked.set_max_age(age);
    }
    if login_again {
        asked = asked.add_prompt(CoreAuthPrompt::Login);
    }
    let url = asked.url().0;
    let published = provider.metadata.additional_metadata();
    match published.require_pushed_authorization_requests {
        true => push_request(providers, &provider, registration, &url).await,
        false => Ok(url),
    }
}

/// Exchanges the code and returns who the person is, after all checks of OpenID Connect Core 3.1.3.7.
///
/// # Errors
///
/// What is wrong with the answer, or why the provider can not be asked.
pub async fn finish_login(
    providers: &Providers,
    request: FinishRequest<'_>,
) -> Result<FinishedLogin, OidcError> {
    let issuer = &request.registration.issuer;
    limit_step(issuer, ask_who_it_is(providers, &request)).await
}

/// Ends a step of a login that takes too long.
async fn limit_step<T>(
    issuer: &str,
    step: impl Future<Output = Result<T, OidcError>>,
) -> Result<T, OidcError> {
    timeout(LONGEST_STEP, step).await.unwrap_or_else(|_| {
        Err(OidcError::Discovery {
            issuer: issuer.to_owned(),
            problem: format!("no answer within {} seconds", LONGEST_STEP.as_secs()),
        })
    })
}

async fn ask_who_it_is(
    providers: &Providers,
    request: &FinishRequest<'_>,
) -> Result<FinishedLogin, OidcError> {
    let provider = providers.find_provider(request.registration).await?;
    check_issuer(&provider, request)?;
    let tokens = exchange_code(providers, &provider, request).await?;
    let mut identity = match verify_tokens(&provider, &tokens, request) {
        // A provider that has changed its key signs with one that is not known here yet.
        Err(VerifyError::UnknownKey(_)) => {
            let provider = providers.refetch_provider(request.registration).await?;
            verify_tokens(&provider, &tokens, request).map_err(VerifyError::into_error)?
        }
        verified => verified.map_err(VerifyError::into_error)?,
    };
    let is_missing = |path: &String| find_claim(&identity.claims, path).is_none();
    if request.wanted_claims.iter().any(is_missing) {
        add_user_info(providers, &provider, &tokens, &mut identity).await?;
    }
    let id_token = tokens.id_token().map(ToString::to_string);
    Ok(FinishedLogin {
        identity,
        id_token: Zeroizing::new(id_token.unwrap_or_default()),
        refresh_token: refresh_token_of(&tokens),
    })
}

pub(crate) fn refresh_token_of(tokens: &Tokens) -> Option<Zeroizing<String>> {
    let token = tokens.refresh_token()?;
    if token.secret().len() > LONGEST_REFRESH_TOKEN {
        tracing::warn!("a refresh token of more than 16 KiB is not kept");
        return None;
    }
    Some(Zeroizing::new(token.secret().clone()))
}

/// Refuses the answer of another provider than the one the person was sent to (mix-up, RFC 9207).
fn check_issuer(provider: &Provider, request: &FinishRequest<'_>) -> Result<(), OidcError> {
    let expected = &request.registration.issuer;
    let always_says = &provider
        .metadata
        .additional_metadata()
        .authorization_response_iss_parameter_supported;
    let is_absent = request.issuer.is_empty();
    if (is_absent && !always_says) || request.issuer == expected {
        return Ok(());
    }
    Err(OidcError::OtherIssuer {
        expected: expected.clone(),
        found: clean_problem(request.issuer),
    })
}

async fn exchange_code(
    providers: &Providers,
    provider: &Provider,
    request: &FinishRequest<'_>,
) -> Result<Tokens, OidcError> {
    let code = AuthorizationCode::new(request.code.to_owned());
    let unanswered = |problem: String| OidcError::Discovery {
        issuer: request.registration.issuer.clone(),
        problem,
    };
    let asked = provider.client.exchange_code(code);
    let asked = asked.map_err(|error| unanswered(describe_problem(&error)))?;
    let verifier = PkceCodeVerifier::new(request.secrets.verifier.to_string());
    let answered = asked
        .set_pkce_verifier(verifier)
        .request_async(providers.http())
        .await;
    answered.map_err(|error| match &error {
        RequestTokenError::ServerResponse(response) => {
            OidcError::Code(clean_problem(&response.to_string()))
        }
        RequestTokenError::Parse(_, body) if holds_token(body) => {
            OidcError::Tokens(describe_problem(&error))
        }
        // What is no answer of OAuth 2.0 refuses nobody.
        _ => unanswered(describe_problem(&error)),
    })
}

/// Says whether an answer is one with tokens, whatever is wrong with them.
fn holds_token(body: &[u8]) -> bool {
    let answer = serde_json::from_slice::<Map<String, Value>>(body);
    answer
        .is_ok_and(|answer| answer.contains_key("id_token") || answer.contains_key("access_token"))
}

/// Why an ID token is not believed.
enum VerifyError {
    /// It is signed by a key that is not known: perhaps a new one.
    UnknownKey(String),
    Refused(OidcError),
}

impl VerifyError {
    fn into_error(self) -> OidcError {
        match self {
            Self::UnknownKey(problem) => OidcError::IdToken(problem),
            Self::Refused(error) => error,
        }
    }
}

fn verify_tokens(
    provider: &Provider,
    tokens: &Tokens,
    request: &FinishRequest<'_>,
) -> Result<ProviderIdentity, VerifyError> {
    let refused = |problem: String| VerifyError::Refused(OidcError::IdToken(problem));
    let token = tokens
        .id_token()
        .ok_or(VerifyError::Refused(OidcError::NoIdToken))?;
    let now = request.now;
    let verifier = provider
        .client
        .id_token_verifier()
        .set_allowed_algs(ALGORITHMS)
        .set_time_fn(move || now);
    let nonce = Nonce::new(request.secrets.nonce.to_string());
    let claims = token
        .claims(&verifier, &nonce)
        .map_err(|error| match &error {
            ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey
                | SignatureVerificationError::CryptoError(_),
            ) => VerifyError::UnknownKey(describe_problem(&error)),
            _ => refused(describe_problem(&error)),
        })?;
    check_claims(claims, &request.registration.client_id, now).map_err(&refused)?;
    if let Some(expected) = claims.access_token_hash() {
        let key = token
            .signing_key(&verifier)
            .map_err(|error| refused(describe_problem(&error)))?;
        let algorithm = token
            .signing_alg()
            .map_err(|error| refused(describe_problem(&error)))?;
        let found = AccessTokenHash::from_token(tokens.access_token(), algorithm, key);
        if found.map_err(|error| refused(describe_problem(&error)))? != *expected {
            return Err(refused(
                "the access token is not the one that the ID token names (at_hash)".to_owned(),
            ));
        }
    }
    let all = serde_json::to_value(claims).map_err(|error| refused(describe_problem(&error)))?;
    let Value::Object(all) = all else {
        return Err(refused("it holds no claims".to_owned()));
    };
    Ok(ProviderIdentity {
        issuer: claims.issuer().to_string(),
        subject: claims.subject().to_string(),
        claims: all,
    })
}
