//! What a SAML connection needs before it is written: metadata, and a key of its own.

use bowline_proto::identity::v1::{Connection, connection::Provider};
use bowline_saml::SigningKey;
use bowline_sealing::SealingKeys;
use chrono::{DateTime, Utc};
use sqlx::AnyConnection;

use super::{SamlProviders, keys, metadata::metadata_row, saml_provider};
use crate::{domain::saml::read_metadata, error::IdentityError, store};

/// The parts of a new SAML connection.
pub(crate) struct NewSamlParts {
    document: Vec<u8>,
    key: SigningKey,
}

impl NewSamlParts {
    /// Loads or takes the metadata of a new connection, which says who the provider is, and makes its key. `None` for a
    /// connection of another kind.
    pub(crate) async fn prepare(
        providers: &SamlProviders,
        connection: &mut Connection,
        given: Vec<u8>,
        now: DateTime<Utc>,
    ) -> Result<Option<Self>, IdentityError> {
        let Some(Provider::Saml(saml)) = &mut connection.provider else {
            return check_none(&given).map(|()| None);
        };
        saml.entity_id = String::new();
        let document = choose_document(providers, &saml.metadata_url, given).await?;
        let document = document.ok_or_else(|| {
            IdentityError::invalid(
                "saml_metadata",
                "is missing: give the provider's metadata as a file, or the URL it is loaded from",
            )
        })?;
        saml.entity_id = read_metadata(saml, &document)?.entity_id;
        let key = keys::make_key(now).await?;
        Ok(Some(Self { document, key }))
    }

    /// Writes them for a connection that is written in the same transaction.
    pub(crate) async fn insert(
        self,
        on: &mut AnyConnection,
        sealing: &SealingKeys,
        connection: &Connection,
        now: DateTime<Utc>,
    ) -> Result<(), IdentityError> {
        let saml = saml_provider(connection)?;
        let row = metadata_row(connection.id, saml, self.document, now)?;
        store::saml::put_metadata(on, &row).await?;
        let row = keys::key_row(sealing, connection.id, 1, &self.key);
        Ok(store::saml::put_key(on, &row).await?)
    }
}

/// Returns the metadata that a changed SAML connection has: given now, loaded now, or kept.
pub(crate) async fn document_of_update(
    providers: &SamlProviders,
    changed: &Connection,
    given: Vec<u8>,
) -> Result<Vec<u8>, IdentityError> {
    let saml = saml_provider(changed)?;
    let document = choose_document(providers, &saml.metadata_url, given).await?;
    let document = match document {
        Some(document) => document,
        None => providers.find_document(changed.id).await?.document,
    };
    read_metadata(saml, &document)?;
    Ok(document)
}

/// Writes the metadata of a changed connection.
pub(crate) async fn put_document(
    on: &mut AnyConnection,
    changed: &Connection,
    document: Vec<u8>,
    now: DateTime<Utc>,
) -> Result<(), IdentityError> {
    let row = metadata_row(changed.id, saml_provider(changed)?, document, now)?;
    Ok(store::saml::put_metadata(on, &row).await?)
}

async fn choose_document(
    providers: &SamlProviders,
    url: &str,
    given: Vec<u8>,
) -> Result<Option<Vec<u8>>, IdentityError> {
    match (url, given.is_empty()) {
        ("", true) => Ok(None),
        ("", false) => Ok(Some(given)),
        (url, true) => providers.load_document(url).await.map(Some),
        (_, false) => {
            let problem =
                "and a metadata_url are given: what is loaded from the URL would replace it";
            Err(IdentityError::invalid("saml_metadata", problem))
        }
    }
}

fn check_none(given: &[u8]) -> Result<(), IdentityError> {
    match given.is_empty() {
        true => Ok(()),
        false => Err(IdentityError::invalid(
            "saml_metadata",
            "is of SAML connections",
        )),
    }
}
