//! What SAML connections have beside the connection: the provider's metadata, and the keys that requests are signed with.

mod keys;
mod metadata;
mod prepare;

pub(crate) use keys::{SamlKeys, reseal_keys};
pub(crate) use metadata::{MetadataReloader, SamlProviders};
pub(crate) use prepare::{NewSamlParts, document_of_update, put_document};

use bowline_proto::identity::v1::{Connection, SamlProvider, connection::Provider};

use crate::error::IdentityError;

/// The formats of names that are asked for, best first.
pub(crate) const NAME_ID_FORMATS: [&str; 1] = [bowline_saml::NAME_ID_PERSISTENT];

/// Returns the SAML provider of a connection.
pub(crate) fn saml_provider(connection: &Connection) -> Result<&SamlProvider, IdentityError> {
    match &connection.provider {
        Some(Provider::Saml(saml)) => Ok(saml),
        _ => Err(IdentityError::NotFound("SAML provider of the connection")),
    }
}

/// Says that what is kept for a connection can not be used.
fn unusable(connection: &Connection, problem: &dyn std::error::Error) -> IdentityError {
    IdentityError::Saml(connection.name.clone(), problem.to_string())
}
