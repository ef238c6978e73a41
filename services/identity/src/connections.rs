//! Connections to identity providers: made and changed by administrators.

mod links;
mod refresh;

use std::sync::Arc;

use bowline_db::{ChangeLog, next_id};
use bowline_ids::TailnetId;
use bowline_proto::{
    identity::v1::{
        Connection, CreateConnectionResponse, UpdateConnectionResponse, connection::Provider,
    },
    time::to_timestamp,
};
use bowline_sealing::SealingKeys;
use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::AnyConnection;
use zeroize::Zeroizing;

use self::refresh::apply_refresh_interval;
use crate::{
    domain::{connection, describe_change},
    error::IdentityError,
    memberships::end_claims,
    saml::{self, NewSamlParts, SamlKeys, SamlProviders},
    scim::end_provisioning,
    store::{self, connections::StoredConnection},
};

/// The most connections of a tailnet.
const MOST_OF_TAILNET: usize = 50;
/// The longest client secret, in bytes.
const LONGEST_SECRET: usize = 4096;

/// Keeps the connections. Clones share it.
#[derive(Clone)]
pub struct Connections {
    pub(crate) log: ChangeLog,
    sealing: Option<Arc<SealingKeys>>,
    saml: SamlProviders,
    saml_keys: SamlKeys,
}

/// A change of a connection.
pub(crate) struct ConnectionUpdate {
    /// Which, and how its masked fields shall be.
    pub(crate) wanted: Connection,
    /// The names of the fields.
    pub(crate) mask: Vec<String>,
    /// The client's secret, where the mask names it.
    pub(crate) client_secret: Zeroizing<String>,
    /// The provider's metadata, where the mask names it.
    pub(crate) saml_metadata: Vec<u8>,
}

/// The place that a client's secret is sealed for.
pub(crate) fn secret_place(connection_id: u64) -> String {
    format!("connections/{connection_id}/client_secret")
}

impl Connections {
    pub(crate) fn new(
        log: ChangeLog,
        sealing: Option<Arc<SealingKeys>>,
        saml: SamlProviders,
    ) -> Self {
        let saml_keys = SamlKeys::new(log.clone());
        Self {
            log,
            sealing,
            saml,
            saml_keys,
        }
    }

    /// Returns the keys that requests to SAML providers are signed with.
    pub(crate) fn saml_keys(&self) -> &SamlKeys {
        &self.saml_keys
    }

    /// Returns what SAML providers publish of themselves.
    pub(crate) fn saml_providers(&self) -> &SamlProviders {
        &self.saml
    }

    /// Returns the keys that seal.
    ///
    /// # Errors
    ///
    /// When the settings name none.
    pub(crate) fn sealing_keys(&self) -> Result<&Arc<SealingKeys>, IdentityError> {
        self.sealing.as_ref().ok_or(IdentityError::Refused(
            "identity has no sealing key: make one with `bowline sealing-key create FILE` and name it as sealing_key_file in \
             [service] of its settings",
        ))
    }

    /// Makes a connection; the answer has the URL that browsers reach the gateway by.
    pub(crate) async fn create_connection(
        &self,
        tailnet: TailnetId,
        actor: String,
        wanted: Connection,
        client_secret: Zeroizing<String>,
        saml_metadata: Vec<u8>,
        public_url: String,
    ) -> Result<CreateConnectionResponse, IdentityError> {
        let mut made = wanted;
        connection::normalize_connection(&mut made)?;
        let keys = Arc::clone(self.sealing_keys()?);
        check_secret(&client_secret)?;
        let now = self.log.database().now().await?;
        let saml = NewSamlParts::prepare(&self.saml, &mut made, saml_metadata, now).await?;
        let made = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let (now, on) = (mutation.now(), mutation.connection());
                let found = store::find_tailnet(&mut *on, tailnet.get()).await?;
                found.ok_or(IdentityError::NotFound("tailnet"))?;
                let others = store::connections::list_connections(&mut *on, tailnet.get()).await?;
                if others.len() >= MOST_OF_TAILNET {
                    return Err(IdentityError::Refused(
                        "the tailnet has 50 connections: delete one first",
                    ));
                }
                check_domains(on, &made).await?;
                made.id = next_id(on).await?.cast_unsigned();
                made.created_at = Some(to_timestamp(now));
                let sealed_secret = seal_secret(&keys, &mut made, &client_secret);
                let row = StoredConnection {
                    connection: made,
                    sealed_secret,
                };
                store::connections::put_connection(on, &row).await?;
                let StoredConnection { connection, .. } = row;
                if let Some(saml) = saml {
                    saml.insert(on, &keys, &connection, now).await?;
                }
                let after = connection::describe_connection(&connection);
                let detail = json!({ "id": connection.id, "after": after });
                mutation.record_audit("connection.create", connection.name.clone(), &detail);
                Ok::<_, IdentityError>(CreateConnectionResponse {
                    connection: Some(connection),
                    public_url,
                })
            })
        });
        Ok(made.await?.0)
    }

    /// Returns the connections of a tailnet.
    pub(crate) async fn list_connections(
        &self,
        tailnet: TailnetId,
    ) -> Result<Vec<Connection>, IdentityError> {
        let reader = self.log.database().reader();
        Ok(store::connections::list_connections(reader, tailnet.get()).await?)
    }

    /// Changes the masked fields of a connection, its client's secret, and the metadata of its provider.
    pub(crate) async fn update_connection(
        &self,
        tailnet: TailnetId,
        actor: String,
        update: ConnectionUpdate,
    ) -> Result<UpdateConnectionResponse, IdentityError> {
        let keys = Arc::clone(self.sealing_keys()?);
        check_secret(&update.client_secret)?;
        let document = self.load_for_update(tailnet, &update).await?;
        let changed = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let (now, on) = (mutation.now(), mutation.connection());
                let StoredConnection {
                    connection: before,
                    sealed_secret,
                } = find_own(on, tailnet, update.wanted.id).await?;
                let mut changed = before.clone();
                let scope = connection::update_fields(&mut changed, &update.wanted, &update.mask)?;
                check_domains(on, &changed).await?;
                let sealed_secret = match scope.client_secret {
                    true => seal_secret(&keys, &mut changed, &update.client_secret),
                    false => sealed_secret,
                };
                let row = StoredConnection {
                    connection: changed,
                    sealed_secret,
                };
                store::connections::put_connection(on, &row).await?;
                let StoredConnection {
                    connection: changed,
                    ..
                } = row;
                apply_refresh_interval(on, &before, &changed, now).await?;
                let changes_metadata = document.is_some();
                if let Some(document) = document {
                    saml::put_document(on, &changed, document, now).await?;
                }
                let mut detail = describe_change(
                    &connection::describe_connection(&before),
                    &connection::describe_connection(&changed),
                );
                detail["client_secret_changed"] = scope.client_secret.into();
                if changes_metadata {
                    detail["saml_metadata_changed"] = true.into();
                }
                mutation.record_audit("connection.update", changed.name.clone(), &detail);
                Ok::<_, IdentityError>(UpdateConnectionResponse {
                    connection: Some(changed),
                })
            })
        });
        Ok(changed.await?.0)
    }

    /// Returns the metadata that a SAML connection has after a change that concerns it, so that none waits for a provider
    /// inside of a transaction.
    async fn load_for_update(
        &self,
        tailnet: TailnetId,
        update: &ConnectionUpdate,
    ) -> Result<Option<Vec<u8>>, IdentityError> {
        let concerns_saml = |name: &String| name == "saml" || name == "saml_metadata";
        if !update.mask.iter().any(concerns_saml) {
            return Ok(None);
        }
        let mut changed = self.find_connection(tailnet, update.wanted.id).await?;
        connection::update_fields(&mut changed, &update.wanted, &update.mask)?;
        let given = update.saml_metadata.clone();
        let document = saml::document_of_update(&self.saml, &changed, given).await?;
        Ok(Some(document))
    }

    /// Returns a connection of a tailnet.
    pub(crate) async fn find_connection(
        &self,
        tailnet: TailnetId,
        id: u64,
    ) -> Result<Connection, IdentityError> {
        let reader = self.log.database().reader();
        let found = store::connections::find_connection(reader, id).await?;
        let own = found.filter(|row| row.connection.tailnet_id == tailnet.get());
        Ok(own.ok_or(IdentityError::NotFound("connection"))?.connection)
    }

    /// Deletes a connection.
    pub(crate) async fn delete_connection(
        &self,
        tailnet: TailnetId,
        actor: String,
        id: u64,
    ) -> Result<(), IdentityError> {
        let deleted = self.log.mutate_once(tailnet, actor, move |mutation| {
            Box::pin(async move {
                let on = mutation.connection();
                let StoredConnection {
                    connection: gone, ..
                } = find_own(on, tailnet, id).await?;
                store::connections::delete_connection(on, id).await?;
                end_provisioning(mutation, id).await?;
                let users = end_claims(mutation, id).await?;
                let before = connection::describe_connection(&gone);
                let detail =
                    json!({ "id": id, "before": before, "users_in_its_groups": users.len() });
                mutation.record_audit("connection.delete", gone.name, &detail);
                Ok::<_, IdentityError>(())
            })
        });
        deleted.await?;
        Ok(())
    }

    /// Refuses a tailnet whose people have no passkeys.
    pub(crate) async fn require_local(&self, tailnet: TailnetId) -> Result<(), IdentityError> {
        let connections = self.list_connections(tailnet).await?;
        match connections.iter().any(Connection::is_local) {
            true => Ok(()),
            false => Err(crate::domain::person::refused(
                "This network takes no passkeys. Ask an administrator: bowline connections create local NAME",
            )),
        }
    }

    /// Returns a connection as it is stored.
    pub(crate) async fn find_stored(&self, id: u64) -> Result<StoredConnection, IdentityError> {
        let reader = self.log.database().reader();
        let found = store::connections::find_connection(reader, id).await?;
        found.ok_or(IdentityError::NotFound("connection"))
    }

    /// Returns the database's time.
    pub(crate) async fn read_time(&self) -> Result<DateTime<Utc>, IdentityError> {
        Ok(self.log.database().now().await?)
    }

    /// Opens a client's secret; `None` for a public client.
    pub(crate) fn open_secret(
        &self,
        row: &StoredConnection,
    ) -> Result<Option<Zeroizing<String>>, IdentityError> {
        let Some(sealed) = &row.sealed_secret else {
            return Ok(None);
        };
        let opened = self
            .sealing_keys()?
            .open(&secret_place(row.connection.id), sealed);
        let opened =
            opened.map_err(|error| IdentityError::Sealed(row.connection.name.clone(), error))?;
        // It was text when it was sealed.
        Ok(Some(Zeroizing::new(
            String::from_utf8_lossy(&opened).into_owned(),
        )))
    }
}

/// Returns the issuer of a connection's provider.
pub(crate) fn provider_issuer(connection: &Connection) -> &str {
    match &connection.provider {
        Some(Provider::Oidc(oidc)) => &oidc.issuer,
        Some(Provider::Saml(saml)) => &saml.entity_id,
        Some(Provider::Local(_)) | None => "",
    }
}

/// Returns a connection of this tailnet.
async fn find_own(
    on: &mut AnyConnection,
    tailnet: TailnetId,
    id: u64,
) -> Result<StoredConnection, IdentityError> {
    let found = store::connections::find_connection(on, id).await?;
    let own = found.filter(|row| row.connection.tailnet_id == tailnet.get());
    own.ok_or(IdentityError::NotFound("connection"))
}

/// Refuses a domain that another tailnet's connection has: a mail address leads to one organisation.
async fn check_domains(
    on: &mut AnyConnection,
    connection: &Connection,
) -> Result<(), IdentityError> {
    for domain in &connection.domains {
        let of = store::connections::find_tailnet_of_domain(&mut *on, domain).await?;
        if of.is_some_and(|tailnet| tailnet != connection.tailnet_id) {
            let problem = format!("{domain} belongs to a connection of another tailnet");
            return Err(IdentityError::invalid("domains", problem));
        }
    }
    Ok(())
}

fn check_secret(secret: &str) -> Result<(), IdentityError> {
    if secret.len() > LONGEST_SECRET || secret.chars().any(char::is_control) {
        let problem = "is longer than 4,096 bytes or holds a control character: leave out the end of the line";
        return Err(IdentityError::invalid("client_secret", problem));
    }
    Ok(())
}

fn seal_secret(keys: &SealingKeys, connection: &mut Connection, secret: &str) -> Option<Vec<u8>> {
    let has_secret = !secret.is_empty();
    if let Some(Provider::Oidc(oidc)) = &mut connection.provider {
        oidc.has_client_secret = has_secret;
    }
    has_secret.then(|| keys.seal(&secret_place(connection.id), secret.as_bytes()))
}
