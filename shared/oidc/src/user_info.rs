//! What a provider says of a person beyond the ID token.

use openidconnect::{
    OAuth2TokenResponse as _, SubjectIdentifier, UserInfoClaims, core::CoreGenderClaim,
};
use serde_json::Value;

use crate::{
    OidcError, ProviderIdentity, Providers,
    error::describe_problem,
    provider::Provider,
    types::{OtherClaims, Tokens},
};

/// Adds the claims that only the provider's userinfo has. What the ID token says stays.
pub(crate) async fn add_user_info(
    providers: &Providers,
    provider: &Provider,
    tokens: &Tokens,
    identity: &mut ProviderIdentity,
) -> Result<(), OidcError> {
    if provider.metadata.userinfo_endpoint().is_none() {
        return Ok(());
    }
    let token = tokens.access_token();
    if !token.secret().bytes().all(|byte| byte.is_ascii_graphic()) {
        let problem = "its access token has characters that no header can carry";
        return Err(OidcError::UserInfo(problem.to_owned()));
    }
    // The answer must be about the same person.
    let subject = SubjectIdentifier::new(identity.subject.clone());
    let asked = provider.client.user_info(token.clone(), Some(subject));
    let asked = asked.map_err(|error| OidcError::UserInfo(describe_problem(&error)))?;
    let answered = asked.request_async(providers.http()).await;
    let more: UserInfoClaims<OtherClaims, CoreGenderClaim> =
        answered.map_err(|error| OidcError::UserInfo(describe_problem(&error)))?;
    let more = serde_json::to_value(more)
        .map_err(|error| OidcError::UserInfo(describe_problem(&error)))?;
    let Value::Object(more) = more else {
        return Ok(());
    };
    for (name, value) in more {
        identity.claims.entry(name).or_insert(value);
    }
    Ok(())
}
