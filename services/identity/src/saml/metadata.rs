//! The metadata of SAML providers: loaded from a URL, kept, and loaded again before it ends or when a key is not known.

use std::time::Duration;

use bowline_db::ChangeLog;
use bowline_http_client::HttpClient;
use bowline_proto::identity::v1::{Connection, SamlProvider};
use bowline_saml::ProviderMetadata;
use bowline_service_kit::error_text;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt as _, stream};
use http::Request;
use serde_json::json;

use super::saml_provider;
use crate::{
    domain::saml::{describe_metadata, is_same_provider, next_reload, read_metadata},
    error::IdentityError,
    fields::read_tailnet_id,
    store::{
        self,
        saml::{DueReload, MetadataRow},
    },
};

/// How often it is looked for metadata that is due.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// How many providers are asked at once.
const AT_ONCE: usize = 8;
/// When a provider is asked again that could not be asked, or whose answer could not be used.
const RETRY_AFTER: TimeDelta = TimeDelta::minutes(5);
/// How soon metadata is loaded again because an answer does not fit it: anybody can make such an answer.
const RELOAD_INTERVAL: TimeDelta = TimeDelta::seconds(30);

/// The metadata of the connections' providers. Clones share it.
#[derive(Clone)]
pub(crate) struct SamlProviders {
    log: ChangeLog,
    http: HttpClient,
}

impl SamlProviders {
    pub(crate) fn new(log: ChangeLog, http: HttpClient) -> Self {
        Self { log, http }
    }

    /// Loads metadata.
    pub(crate) async fn load_document(&self, url: &str) -> Result<Vec<u8>, IdentityError> {
        let failed = |problem: String| {
            let problem = format!("{url} can not be loaded: {problem}");
            IdentityError::invalid("metadata_url", problem)
        };
        let request = Request::get(url).body(Bytes::new());
        let request = request.map_err(|error| failed(error.to_string()))?;
        let answer = self.http.send(request).await;
        let answer = answer.map_err(|error| failed(error_text(&error)))?;
        match answer.status().is_success() {
            true => Ok(answer.into_body().to_vec()),
            false => Err(failed(format!("the answer is {}", answer.status()))),
        }
    }

    /// Returns the document that is kept for a connection.
    pub(crate) async fn find_document(
        &self,
        connection_id: u64,
    ) -> Result<MetadataRow, IdentityError> {
        let reader = self.log.database().reader();
        let row = store::saml::find_metadata(reader, connection_id).await?;
        row.ok_or(IdentityError::NotFound("metadata of the connection"))
    }

    /// Returns a connection's provider; loaded again where its metadata has ended.
    pub(crate) async fn find_provider(
        &self,
        connection: &Connection,
        now: DateTime<Utc>,
    ) -> Result<ProviderMetadata, IdentityError> {
        let saml = saml_provider(connection)?;
        let row = self.find_document(connection.id).await?;
        let metadata = read_metadata(saml, &row.document)?;
        if metadata.ended_at(now).is_none() {
            return Ok(metadata);
        }
        let reloaded = self.reload_provider(connection, now).await?;
        Ok(reloaded.unwrap_or(metadata))
    }

    /// Loads a provider's metadata again, unless that was done a moment ago, or it was given as a file. Returns it where it
    /// was loaded.
    pub(crate) async fn reload_provider(
        &self,
        connection: &Connection,
        now: DateTime<Utc>,
    ) -> Result<Option<ProviderMetadata>, IdentityError> {
        let row = self.find_document(connection.id).await?;
        let Some(reload_at) = row.reload_at else {
            return Ok(None);
        };
        // Whoever has moved it on a moment ago, and failed, counts as well.
        let was_just_tried = reload_at > now && reload_at - now <= RETRY_AFTER && {
            reload_at - RETRY_AFTER + RELOAD_INTERVAL > now
        };
        if row.loaded_at + RELOAD_INTERVAL > now || was_just_tried {
            return Ok(None);
        }
        let due = DueReload {
            connection_id: connection.id,
            due: bowline_db::to_micros(reload_at),
        };
        match self.claim_reload(due).await? {
            true => self.load_again(connection, row).await.map(Some),
            false => Ok(None),
        }
    }

    async fn claim_reload(&self, due: DueReload) -> Result<bool, IdentityError> {
        let claimed = self.log.database().write(|write| {
            Box::pin(async move {
                let next = write.now() + RETRY_AFTER;
                let claimed = store::saml::claim_reload(write.connection(), due, next);
                Ok::<_, IdentityError>(claimed.await?)
            })
        });
        claimed.await
    }

    /// Loads metadata and puts it in place of what is kept, with an audit entry where it says something else.
    async fn load_again(
        &self,
        connection: &Connection,
        before: MetadataRow,
    ) -> Result<ProviderMetadata, IdentityError> {
        let saml = saml_provider(connection)?.clone();
        let document = self.load_document(&saml.metadata_url).await?;
        let metadata = read_metadata(&saml, &document)?;
        let was = read_metadata(&saml, &before.document).ok();
        if was.is_some_and(|was| is_same_provider(&was, &metadata)) {
            self.put_document(connection.id, &saml, document).await?;
            return Ok(metadata);
        }
        let tailnet = read_tailnet_id(connection.tailnet_id)?;
        let (id, name) = (connection.id, connection.name.clone());
        let detail = json!({ "id": id, "after": describe_metadata(&metadata) });
        let changed = self
            .log
            .mutate(tailnet, format!("connection:{name}"), move |mutation| {
                Box::pin(async move {
                    let (now, on) = (mutation.now(), mutation.connection());
                    let still = store::connections::find_connection(&mut *on, id).await?;
                    still.ok_or(IdentityError::NotFound("connection"))?;
                    let row = metadata_row(id, &saml, document, now)?;
                    store::saml::put_metadata(on, &row).await?;
                    mutation.record_audit("connection.metadata", name, &detail);
                    Ok::<_, IdentityError>(())
                })
            });
        changed.await?;
        Ok(metadata)
    }

    async fn put_document(
        &self,
        connection_id: u64,
        saml: &SamlProvider,
        document: Vec<u8>,
    ) -> Result<(), IdentityError> {
        let saml = saml.clone();
        let written = self.log.database().write(|write| {
            Box::pin(async move {
                let (now, on) = (write.now(), write.connection());
                if store::connections::find_connection(&mut *on, connection_id)
                    .await?
                    .is_none()
                {
                    return Ok(());
                }
                let row = metadata_row(connection_id, &saml, document, now)?;
                Ok::<_, IdentityError>(store::saml::put_metadata(on, &row).await?)
            })
        });
        written.await
    }
}

/// Returns the row of a document that was loaded or given now.
pub(super) fn metadata_row(
    connection_id: u64,
    saml: &SamlProvider,
    document: Vec<u8>,
    now: DateTime<Utc>,
) -> Result<MetadataRow, IdentityError> {
    let metadata = read_metadata(saml, &document)?;
    let is_loaded = !saml.metadata_url.is_empty();
    Ok(MetadataRow {
        connection_id,
        document,
        loaded_at: now,
        reload_at: is_loaded.then(|| next_reload(&metadata, now)),
    })
}

/// Loads the metadata of all connections again as it becomes due; of several replicas one loads each.
pub(crate) struct MetadataReloader(SamlProviders);

impl MetadataReloader {
    pub(crate) fn new(providers: SamlProviders) -> Self {
        Self(providers)
    }

    /// Looks until the process ends. What fails is tried again a few minutes later.
    pub(crate) async fn run(self) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if let Err(error) = self.reload_due().await {
                tracing::warn!(%error, "metadata of SAML providers can not be loaded again");
            }
        }
    }

    async fn reload_due(&self) -> Result<(), IdentityError> {
        let database = self.0.log.database();
        let now = database.now().await?;
        let due = store::saml::list_due_reloads(database.reader(), now).await?;
        let reloading = stream::iter(due).for_each_concurrent(AT_ONCE, |due| self.reload_one(due));
        reloading.await;
        Ok(())
    }

    async fn reload_one(&self, due: DueReload) {
        let reloaded = async {
            let reader = self.0.log.database().reader();
            let row = store::connections::find_connection(reader, due.connection_id).await?;
            let row = row.ok_or(IdentityError::NotFound("connection"))?;
            let before = self.0.find_document(due.connection_id).await?;
            if self.0.claim_reload(due).await? {
                self.0.load_again(&row.connection, before).await?;
            }
            Ok::<_, IdentityError>(())
        };
        if let Err(error) = reloaded.await {
            let connection = due.connection_id;
            tracing::warn!(%error, connection, "the metadata of a SAML provider can not be loaded: what is kept is used on");
        }
    }
}
