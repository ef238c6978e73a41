//! What a connection says of its OpenID Connect provider, and what the provider says of a login. Pure.

use bowline_oidc::ProviderIdentity;
use bowline_proto::identity::v1::{Connection, OidcProvider, connection::Provider};

use serde_json::Value;

use crate::{
    domain::{
        condition::{LoginProof, ProofKind},
        person::refused,
    },
    error::IdentityError,
};

/// Returns the OpenID Connect provider of a connection.
pub(crate) fn oidc_provider(connection: &Connection) -> Result<&OidcProvider, IdentityError> {
    match &connection.provider {
        Some(Provider::Oidc(oidc)) => Ok(oidc),
        _ => Err(IdentityError::NotFound("provider of the connection")),
    }
}

/// Returns the scopes that are asked for beside `openid`.
pub(super) fn scopes_of(oidc: &OidcProvider) -> Vec<String> {
    match oidc.scopes.is_empty() {
        true => vec!["profile".to_owned(), "email".to_owned()],
        false => oidc.scopes.clone(),
    }
}

/// Returns the claims that are needed.
pub(crate) fn wanted_claims(oidc: &OidcProvider) -> Vec<String> {
    let groups = (!oidc.groups_claim.is_empty()).then(|| oidc.groups_claim.clone());
    std::iter::once("email".to_owned()).chain(groups).collect()
}

/// Returns how the provider says that it has authenticated the person.
pub(super) fn read_proof(identity: &ProviderIdentity) -> LoginProof {
    let methods = identity.claims.get("amr").and_then(Value::as_array);
    let methods = methods.into_iter().flatten().filter_map(Value::as_str);
    LoginProof {
        kind: ProofKind::Oidc,
        class: identity.text_claim("acr").map(str::to_owned),
        methods: methods.map(str::to_owned).take(20).collect(),
        authenticated_at: identity.claims.get("auth_time").and_then(Value::as_i64),
    }
}

/// Says in the provider's words why it sent the browser back without a code.
pub(super) fn provider_refusal(error: &str, description: &str) -> IdentityError {
    let clean = |text: &str| {
        text.chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect::<String>()
    };
    match (error, description) {
        ("access_denied", _) => {
            refused("The login was cancelled, or your provider does not let you in.")
        }
        ("", _) => refused("The provider sent you back without an answer."),
        (error, "") => refused(&format!("The provider refuses: {}", clean(error))),
        (_, description) => refused(&format!("The provider refuses: {}", clean(description))),
    }
}
