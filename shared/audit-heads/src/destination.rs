//! Where heads are exported to.

use std::{
    io::{self, SeekFrom},
    path::{Path, PathBuf},
};

use bowline_clock::random_bytes;
use bowline_http_client::{HttpClient, HttpError};
use bowline_service_kit::{config::Secret, error_text};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{Request, StatusCode, Uri, header};
use sha2::{Digest as _, Sha256};
use tokio::{
    fs::OpenOptions,
    io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _},
};

use crate::{AuditPublicKey, SignedHead, s3::S3Store};

/// What is sent.
const LINES: &str = "application/x-ndjson";

/// Why heads are not exported.
#[derive(Debug, thiserror::Error)]
pub enum HeadExportError {
    /// The file can not be written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// There is no answer.
    #[error("{0}")]
    Http(#[from] HttpError),
    /// The answer refuses.
    #[error("the answer is {status}: {said}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// The beginning of what it says.
        said: String,
    },
    /// The request can not be made from the settings.
    #[error("the request can not be made: {0}")]
    Request(String),
}

/// A place that the server only adds to.
#[derive(Debug)]
pub(crate) enum HeadDestination {
    /// A file in this directory.
    Directory(PathBuf),
    /// Whoever takes a POST there.
    Webhook { url: Uri, token: Option<Secret> },
    /// A store that speaks S3.
    S3(S3Store),
}

impl HeadDestination {
    /// Returns what it is, in logs and metrics.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Directory(_) => "directory",
            Self::Webhook { .. } => "webhook",
            Self::S3(_) => "s3",
        }
    }

    /// Returns its name in the database: another place has another, and gets all heads.
    pub(crate) fn name(&self) -> String {
        let place = match self {
            Self::Directory(directory) => directory.display().to_string(),
            Self::Webhook { url, .. } => url.to_string(),
            Self::S3(store) => format!("{}\n{}\n{}", store.endpoint, store.bucket, store.prefix),
        };
        let hash: String = hex::encode(Sha256::digest(place))
            .chars()
            .take(16)
            .collect();
        format!("{}-{hash}", self.kind())
    }

    /// Returns the key that signed the newest line of an owner, where that can be read.
    pub(crate) async fn find_newest_key(&self, owner: &str) -> Option<AuditPublicKey> {
        let Self::Directory(directory) = self else {
            return None;
        };
        let text = tokio::fs::read_to_string(directory.join(file_name(owner)));
        let text = text.await.ok()?;
        text.lines()
            .rev()
            .find_map(|line| Some(SignedHead::parse(line).ok()?.1))
    }

    /// Adds lines of an owner.
    pub(crate) async fn add_lines(
        &self,
        owner: &str,
        lines: String,
        now: DateTime<Utc>,
        client: &HttpClient,
    ) -> Result<(), HeadExportError> {
        match self {
            Self::Directory(directory) => {
                let path = directory.join(file_name(owner));
                append_to_file(&path, &lines)
                    .await
                    .map_err(|source| HeadExportError::File { path, source })
            }
            Self::Webhook { url, token } => {
                let mut request = Request::post(url.clone()).header(header::CONTENT_TYPE, LINES);
                if let Some(token) = token {
                    let bearer = format!("Bearer {}", token.expose());
                    request = request.header(header::AUTHORIZATION, bearer);
                }
                send(client, request.body(Bytes::from(lines))).await
            }
            Self::S3(store) => {
                let random = u32::from_be_bytes(random_bytes());
                let name = format!(
                    "{owner}/{}-{random:08x}.jsonl",
                    now.format("%Y/%m/%d/%H%M%S")
                );
                let request = store.put_request(&name, lines.into(), now);
                send(client, request).await
            }
        }
    }
}

fn file_name(owner: &str) -> String {
    format!("audit-heads-{owner}.jsonl")
}

/// Adds lines behind those that are there, and waits until they are kept. A line that a crash has cut stays one of its own.
async fn append_to_file(path: &Path, lines: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .read(true)
        .append(true)
        .open(path)
        .await?;
    let mut text = String::new();
    let mut last = [b'\n'];
    if file.metadata().await?.len() > 0 {
        file.seek(SeekFrom::End(-1)).await?;
        file.read_exact(&mut last).await?;
    }
    if last != [b'\n'] {
        text.push('\n');
    }
    text.push_str(lines);
    file.write_all(text.as_bytes()).await?;
    file.flush().await?;
    file.sync_all().await
}

async fn send(
    client: &HttpClient,
    request: Result<Request<Bytes>, http::Error>,
) -> Result<(), HeadExportError> {
    let request = request.map_err(|error| HeadExportError::Request(error_text(&error)))?;
    let answer = client.send(request).await?;
    if answer.status().is_success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(answer.body());
    Err(HeadExportError::Refused {
        status: answer.status(),
        said: said.chars().take(200).collect(),
    })
}
