//! The keys that requests to SAML providers are signed with: made with the connection, sealed, and rolled.

use std::sync::Arc;

use bowline_db::{ChangeLog, WriteTransaction};
use bowline_ids::TailnetId;
use bowline_proto::{
    addresses::SAML_CONSUMER,
    identity::v1::{CertificateSummary, Connection, RollConnectionKeyResponse},
    time::to_timestamp,
};
use bowline_saml::{ServiceProvider, SigningCertificate, SigningKey, SigningKeyKind};
use bowline_sealing::SealingKeys;
use chrono::{DateTime, Utc};
use serde_json::json;

use super::{NAME_ID_FORMATS, saml_provider, unusable};
use crate::{
    error::IdentityError,
    secrets::service_entity_id,
    store::{self, connections::StoredConnection, saml::SigningKeyRow},
};

/// How long the certificate of a key is valid. Providers pin the key; some refuse a certificate that has ended.
const CERTIFICATE_DAYS: u64 = 3650;

/// The keys of all connections. Clones share them.
#[derive(Clone)]
pub(crate) struct SamlKeys {
    log: ChangeLog,
}

/// The place that a key is sealed for.
fn key_place(connection_id: u64, number: i64) -> String {
    format!("saml_keys/{connection_id}/{number}")
}

/// Makes a key, on a thread of its own.
pub(super) async fn make_key(now: DateTime<Utc>) -> Result<SigningKey, IdentityError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "administrators alone make keys, and it takes a second"
    )]
    let made = tokio::task::spawn_blocking(move || {
        let today = now.date_naive();
        SigningKey::generate(SigningKeyKind::Rsa, "Bowline", today, CERTIFICATE_DAYS)
    });
    let failed = |problem: String| IdentityError::Saml("new".to_owned(), problem);
    let made = made.await.map_err(|error| failed(error.to_string()))?;
    made.map_err(|error| failed(error.to_string()))
}

/// Returns a key as it is stored.
pub(super) fn key_row(
    keys: &SealingKeys,
    connection_id: u64,
    number: i64,
    key: &SigningKey,
) -> SigningKeyRow {
    let place = key_place(connection_id, number);
    SigningKeyRow {
        connection_id,
        number,
        certificate: key.certificate().der().to_vec(),
        sealed_key: keys.seal(&place, &key.to_pkcs8()),
    }
}

fn summarize(certificate: &SigningCertificate) -> CertificateSummary {
    CertificateSummary {
        fingerprint: certificate.fingerprint(),
        ends_at: Some(to_timestamp(certificate.validity().1)),
    }
}

impl SamlKeys {
    pub(crate) fn new(log: ChangeLog) -> Self {
        Self { log }
    }

    /// Opens the key that signs.
    pub(crate) async fn open_key(
        &self,
        keys: &SealingKeys,
        connection: &Connection,
    ) -> Result<SigningKey, IdentityError> {
        let reader = self.log.database().reader();
        let rows = store::saml::list_keys(reader, connection.id).await?;
        let row = rows.first();
        let row = row.ok_or(IdentityError::NotFound("signing key of the connection"))?;
        let place = key_place(row.connection_id, row.number);
        let opened = keys
            .open(&place, &row.sealed_key)
            .map_err(|error| IdentityError::Sealed(connection.name.clone(), error))?;
        SigningKey::from_pkcs8(opened, &row.certificate)
            .map_err(|error| unusable(connection, &error))
    }

    /// Returns what the provider of a connection is told about this server.
    pub(crate) async fn describe_service(
        &self,
        connection_id: u64,
        origin: &str,
    ) -> Result<ServiceProvider, IdentityError> {
        let reader = self.log.database().reader();
        let found = store::connections::find_connection(reader, connection_id).await?;
        let StoredConnection { connection, .. } =
            found.ok_or(IdentityError::NotFound("connection"))?;
        saml_provider(&connection)?;
        let rows = store::saml::list_keys(reader, connection_id).await?;
        let certificates = rows.iter().map(|row| read_certificate(&connection, row));
        Ok(ServiceProvider {
            entity_id: service_entity_id(origin, connection_id),
            acs_url: format!("{origin}{SAML_CONSUMER}"),
            certificates: certificates.collect::<Result<_, _>>()?,
            name_id_formats: NAME_ID_FORMATS.map(str::to_owned).to_vec(),
        })
    }

    /// Publishes a successor of the key that signs, or lets the successor sign.
    pub(crate) async fn roll_key(
        &self,
        keys: Arc<SealingKeys>,
        tailnet: TailnetId,
        actor: String,
        connection_id: u64,
        finish: bool,
    ) -> Result<RollConnectionKeyResponse, IdentityError> {
        let successor = match finish {
            true => None,
            false => Some(make_key(self.log.database().now().await?).await?),
        };
        let rolled = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let on = mutation.connection();
                let found = store::connections::find_connection(&mut *on, connection_id).await?;
                let own = found.filter(|row| row.connection.tailnet_id == tailnet.get());
                let own = own.ok_or(IdentityError::NotFound("connection"))?;
                let connection = own.connection;
                saml_provider(&connection)?;
                let mut rows = store::saml::list_keys(&mut *on, connection_id).await?;
                let action = match (&*rows, &successor) {
                    ([only], Some(successor)) => {
                        let row = key_row(&keys, connection_id, only.number + 1, successor);
                        store::saml::put_key(on, &row).await?;
                        rows.push(row);
                        Some("connection.key-publish")
                    }
                    ([old, _, ..], None) => {
                        store::saml::delete_key(on, connection_id, old.number).await?;
                        rows.remove(0);
                        Some("connection.key-roll")
                    }
                    _ => None,
                };
                let mut certificates = rows.iter().map(|row| {
                    read_certificate(&connection, row).map(|certificate| summarize(&certificate))
                });
                let answer = RollConnectionKeyResponse {
                    signing: certificates.next().transpose()?,
                    successor: certificates.next().transpose()?,
                };
                if let Some(action) = action {
                    let fingerprint = |one: &Option<CertificateSummary>| {
                        one.as_ref().map(|one| one.fingerprint.clone())
                    };
                    let detail = json!({
                        "id": connection_id,
                        "signing": fingerprint(&answer.signing),
                        "successor": fingerprint(&answer.successor),
                    });
                    mutation.record_audit(action, connection.name, &detail);
                }
                Ok::<_, IdentityError>(answer)
            })
        });
        Ok(rolled.await?.0)
    }
}

fn read_certificate(
    connection: &Connection,
    row: &SigningKeyRow,
) -> Result<SigningCertificate, IdentityError> {
    SigningCertificate::from_der(&row.certificate).map_err(|error| unusable(connection, &error))
}

/// Seals again the keys that an older sealing key has sealed. Returns how many.
pub(crate) async fn reseal_keys(
    keys: &SealingKeys,
    write: &mut WriteTransaction,
) -> Result<usize, IdentityError> {
    let on = write.connection();
    let mut rows = store::saml::list_all_keys(on).await?;
    rows.retain(|row| !keys.is_sealed_by_active(&row.sealed_key));
    let mut resealed = 0;
    for row in rows {
        let place = key_place(row.connection_id, row.number);
        match keys.open(&place, &row.sealed_key) {
            Ok(opened) => {
                let sealed_key = keys.seal(&place, &opened);
                store::saml::put_key(on, &SigningKeyRow { sealed_key, ..row }).await?;
                resealed += 1;
            }
            Err(error) => {
                let connection = row.connection_id;
                tracing::error!(%error, connection, "the signing key of a connection can not be opened: roll it");
            }
        }
    }
    Ok(resealed)
}
