//! Whether a provider still vouches for a person.

use bowline_http_client::HttpError;
use chrono::{DateTime, Utc};
use openidconnect::{
    RefreshToken, RequestTokenError, TokenResponse as _, core::CoreErrorResponseType,
};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::{
    ClientRegistration, OidcError, ProviderIdentity, Providers,
    error::{clean_problem, describe_problem},
    find_claim,
    id_token::check_claims,
    login::{ALGORITHMS, refresh_token_of},
    provider::Provider,
    types::Tokens,
    user_info::add_user_info,
};

/// What a provider is asked about a person.
#[derive(Clone, Copy, Debug)]
pub struct RefreshRequest<'a> {
    /// This server at the provider.
    pub registration: &'a ClientRegistration,
    /// What the provider gave at the person's login, or last.
    pub refresh_token: &'a Zeroizing<String>,
    /// The person.
    pub subject: &'a str,
    /// Claims that are needed: the provider's userinfo is asked for those that the answer does not have.
    pub wanted_claims: &'a [String],
    /// The time.
    pub now: DateTime<Utc>,
}

/// A person for whom the provider vouches.
#[derive(Clone, Debug)]
pub struct RefreshedLogin {
    /// What the provider says of the person now; `None` where it says nothing.
    pub identity: Option<ProviderIdentity>,
    /// What it is asked by next; `None` when that is as before.
    pub refresh_token: Option<Zeroizing<String>>,
}

/// Why it is not known that a provider vouches for a person.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// It does not.
    #[error("the provider does not vouch for the person any more: {0}")]
    Refused(String),
    /// It was not asked, or answers that it can not say.
    #[error("the provider can not be asked: {0}")]
    Unanswered(String),
    /// It may have been asked, and its answer was lost, so that what it was asked by may be used up.
    #[error("the provider's answer is lost: {0}")]
    Lost(String),
}

/// Asks a provider whether it still vouches for a person.
///
/// # Errors
///
/// `Refused` when it says that it does not, and nothing else is that.
pub async fn refresh_login(
    providers: &Providers,
    request: RefreshRequest<'_>,
) -> Result<RefreshedLogin, RefreshError> {
    let unanswered = |error: &OidcError| RefreshError::Unanswered(describe_problem(error));
    let found = providers.find_provider(request.registration).await;
    let provider = found.map_err(|error| unanswered(&error))?;
    let token = RefreshToken::new(request.refresh_token.to_string());
    let asked = provider.client.exchange_refresh_token(&token);
    let asked = asked.map_err(|error| RefreshError::Unanswered(describe_problem(&error)))?;
    let answered = asked.request_async(providers.http()).await;
    let tokens = answered.map_err(|error| judge_failure(&error))?;
    let refreshed = RefreshedLogin {
        identity: None,
        refresh_token: refresh_token_of(&tokens),
    };
    // From here on the provider has said that it vouches: what else it says only adds to that.
    let identity = match read_identity(providers, &provider, &tokens, &request).await {
        Ok(identity) => identity,
        Err(error) => {
            tracing::warn!(%error, "what a provider says with a refresh is not believed");
            None
        }
    };
    Ok(RefreshedLogin {
        identity,
        ..refreshed
    })
}

type TokenFailure =
    RequestTokenError<HttpError, openidconnect::StandardErrorResponse<CoreErrorResponseType>>;

fn judge_failure(error: &TokenFailure) -> RefreshError {
    let text = describe_problem(error);
    match error {
        RequestTokenError::ServerResponse(response) => {
            let text = clean_problem(&response.to_string());
            match is_refusal(response.error()) {
                true => RefreshError::Refused(text),
                false => RefreshError::Unanswered(text),
            }
        }
        // It says that it has done nothing.
        RequestTokenError::Request(HttpError::Failed(429 | 503)) => RefreshError::Unanswered(text),
        RequestTokenError::Request(sent) if !sent.may_have_arrived() => {
            RefreshError::Unanswered(text)
        }
        _ => RefreshError::Lost(text),
    }
}

/// Says whether an error is about the person: the token is taken back, or an administrator's rule for refreshes denies it. The
/// others are about this client or the request.
fn is_refusal(error: &CoreErrorResponseType) -> bool {
    match error {
        CoreErrorResponseType::InvalidGrant => true,
        CoreErrorResponseType::Extension(name) => name == "access_denied",
        _ => false,
    }
}

/// Returns what the provider says of the person; refuses what it says of another.
async fn read_identity(
    providers: &Providers,
    provider: &Provider,
    tokens: &Tokens,
    request: &RefreshRequest<'_>,
) -> Result<Option<ProviderIdentity>, OidcError> {
    let mut identity = ProviderIdentity {
        issuer: request.registration.issuer.clone(),
        subject: request.subject.to_owned(),
        claims: Map::new(),
    };
    if let Some(token) = tokens.id_token() {
        let now = request.now;
        let verifier = provider
            .client
            .id_token_verifier()
            .set_allowed_algs(ALGORITHMS)
            .set_time_fn(move || now);
        // Such a token mostly has no nonce (OpenID Connect Core, 12.2).
        let claims = token.claims(&verifier, |_: Option<&openidconnect::Nonce>| Ok(()));
        let claims = claims.map_err(|error| OidcError::IdToken(describe_problem(&error)))?;
        check_claims(claims, &request.registration.client_id, now).map_err(OidcError::IdToken)?;
        if claims.subject().as_str() != request.subject {
            let problem = "it is about another person".to_owned();
            return Err(OidcError::IdToken(problem));
        }
        let all = serde_json::to_value(claims);
        if let Ok(Value::Object(all)) = all {
            identity.claims = all;
        }
    }
    let is_missing = |path: &String| find_claim(&identity.claims, path).is_none();
    if request.wanted_claims.iter().any(is_missing) {
        add_user_info(providers, provider, tokens, &mut identity).await?;
    }
    Ok((!identity.claims.is_empty()).then_some(identity))
}
