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
use tokio::{
    fs::OpenOptions,
    io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _},
};

use crate::s3::S3Store;

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
    /// Returns its name, in the database and in logs.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Directory(_) => "directory",
            Self::Webhook { .. } => "webhook",
            Self::S3(_) => "s3",
        }
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
                let path = directory.join(format!("audit-heads-{owner}.jsonl"));
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
