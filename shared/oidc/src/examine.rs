//! Whether this server is known at a provider, tried without a person.

use openidconnect::{AuthorizationCode, RequestTokenError, core::CoreErrorResponseType};

use crate::{
    ClientRegistration, OidcError, Providers,
    error::{clean_problem, describe_problem},
};

/// What a provider says of this server's registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientVerdict {
    /// The id and secret are right.
    Known,
    /// They are not.
    Refused(String),
    /// The provider does not say.
    Unclear(String),
}

/// Offers a code that the provider has not made: whoever is let in as far as that is told that the code is wrong, and not
/// that the client is.
///
/// # Errors
///
/// When the provider can not be asked.
pub async fn try_client(
    providers: &Providers,
    registration: &ClientRegistration,
) -> Result<ClientVerdict, OidcError> {
    let unreachable = |problem: String| OidcError::Discovery {
        issuer: registration.issuer.clone(),
        problem,
    };
    let provider = providers.refetch_provider(registration).await?;
    let code = AuthorizationCode::new("bowline-connection-test".to_owned());
    let asked = provider.client.exchange_code(code);
    let asked = asked.map_err(|error| unreachable(describe_problem(&error)))?;
    let answered = asked.request_async(providers.http()).await;
    Ok(match answered {
        Ok(_) => ClientVerdict::Unclear("it takes any code".to_owned()),
        Err(RequestTokenError::ServerResponse(response)) => match response.error() {
            CoreErrorResponseType::InvalidGrant => ClientVerdict::Known,
            CoreErrorResponseType::InvalidClient | CoreErrorResponseType::UnauthorizedClient => {
                ClientVerdict::Refused(clean_problem(&response.to_string()))
            }
            // Many look at the code challenge or the redirect address before the code, and at the client before both.
            CoreErrorResponseType::InvalidRequest => ClientVerdict::Known,
            _ => ClientVerdict::Unclear(clean_problem(&response.to_string())),
        },
        Err(error @ RequestTokenError::Request(_)) => {
            return Err(unreachable(describe_problem(&error)));
        }
        Err(error) => ClientVerdict::Unclear(describe_problem(&error)),
    })
}
