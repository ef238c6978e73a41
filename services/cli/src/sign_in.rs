//! `bowline sign-in` and `sign-out`: a session for this command, whose person logs in in any browser (RFC 8628).

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use bowline_clock::{Clock as _, SystemClock};
use bowline_http_client::{AnswerLimits, Destinations, HttpClient};
use bowline_service_kit::{error_text, install_crypto_provider};
use bytes::Bytes;
use clap::Args;
use http::{Request, header};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use tokio::time::{Instant, sleep};
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use crate::{
    connection::ConnectionArgs,
    failure::{Failure, FailureKind},
    output::Printer,
};

/// What an answer may take.
const LIMITS: AnswerLimits = AnswerLimits {
    longest_body: 64 << 10,
    deadline: Duration::from_secs(20),
};
const DEVICE_CODE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Where people log in.
#[derive(Debug, Args)]
pub struct PortalArgs {
    /// The server's public URL, such as https://vpn.example.com:8443.
    url: Url,
}

/// What a program is told when it begins.
#[derive(Deserialize)]
struct BegunLogin {
    device_code: Zeroizing<String>,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: String,
    expires_in: u64,
    interval: u64,
}

/// The session, when the person has said yes.
#[derive(Deserialize)]
struct GivenSession {
    access_token: Zeroizing<String>,
    expires_in: i64,
}

/// Why there is no session, or not yet.
#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

impl Refusal {
    fn into_failure(self) -> Failure {
        let kind = match self.error.as_str() {
            "temporarily_unavailable" => FailureKind::Unavailable,
            _ => FailureKind::Refused,
        };
        let text = match self.error_description.as_str() {
            "" => format!("the server says {}", self.error),
            text => text.to_owned(),
        };
        Failure::new(kind, text)
    }
}

/// The portal of a server.
struct PortalClient {
    client: HttpClient,
    url: Url,
}

impl PortalClient {
    fn new(args: &PortalArgs, server: &ConnectionArgs) -> Result<Self, Failure> {
        install_crypto_provider();
        let client = match server.authority() {
            None => HttpClient::new(Destinations::Anywhere, LIMITS),
            Some(path) => HttpClient::with_authority(path, Destinations::Anywhere, LIMITS)
                .map_err(|error| {
                    let text = format!("{}: {}", path.display(), error_text(&error));
                    Failure::new(FailureKind::Failed, text)
                })?,
        };
        let url = args.url.clone();
        Ok(Self { client, url })
    }

    /// Sends a form, and reads the answer or the refusal.
    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<Result<T, Refusal>, Failure> {
        let unavailable = |text: String| Failure::new(FailureKind::Unavailable, text);
        let url = self
            .url
            .join(path)
            .map_err(|error| unavailable(error.to_string()))?;
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = Request::post(url.as_str())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Bytes::from(body))
            .map_err(|error| unavailable(error.to_string()))?;
        let answer = self.client.send(request).await;
        let answer =
            answer.map_err(|error| unavailable(format!("{url}: {}", error_text(&error))))?;
        if answer.status().is_success() {
            return match serde_json::from_slice(answer.body()) {
                Ok(given) => Ok(Ok(given)),
                Err(_) => Err(unavailable(format!("{url}: this is no Bowline server"))),
            };
        }
        match serde_json::from_slice::<Refusal>(answer.body()) {
            Ok(refusal) if !refusal.error.is_empty() => Ok(Err(refusal)),
            _ => Err(unavailable(format!(
                "{url} answers with status {}: is it the public URL of a Bowline server, with the host that clients use?",
                answer.status().as_u16()
            ))),
        }
    }

    /// Asks until the person has decided.
    async fn await_session(&self, begun: &BegunLogin) -> Result<GivenSession, Failure> {
        let end = Instant::now() + Duration::from_secs(begun.expires_in);
        let mut interval = Duration::from_secs(begun.interval.clamp(1, 60));
        let asked = [
            ("grant_type", DEVICE_CODE_GRANT),
            ("device_code", &begun.device_code),
        ];
        loop {
            sleep(interval).await;
            match self.post("/oauth/token", &asked).await {
                Ok(Ok(session)) => return Ok(session),
                Ok(Err(refusal)) => match refusal.error.as_str() {
                    "authorization_pending" => {}
                    "slow_down" => interval += Duration::from_secs(5),
                    "temporarily_unavailable" if Instant::now() < end => {}
                    _ => return Err(refusal.into_failure()),
                },
                // A server that restarts is there again before the login ends.
                Err(failure) if Instant::now() >= end => return Err(failure),
                Err(_) => {}
            }
        }
    }
}

/// Gets a session, and keeps it in a file.
pub async fn sign_in(
    args: &PortalArgs,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let portal = PortalClient::new(args, server)?;
    let name = program_name();
    let fields = [("client_id", name.as_str())];
    let begun = portal.post::<BegunLogin>("/oauth/device_authorization", &fields);
    let begun = begun.await?.map_err(Refusal::into_failure)?;
    printer.instruct(&format!(
        "Open {} in any browser, and check that it shows the code {}.\nOr go to {} and type it. Waiting for {} minutes …",
        begun.verification_uri_complete,
        begun.user_code,
        begun.verification_uri,
        begun.expires_in / 60,
    ));
    let session = portal.await_session(&begun).await?;
    let path = server.session_file();
    write_session(&path, &session.access_token).map_err(|error| {
        Failure::new(FailureKind::Failed, format!("{}: {error}", path.display()))
    })?;
    let ends_at = SystemClock.now() + chrono::TimeDelta::seconds(session.expires_in);
    let ends_at = ends_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    printer.print_result(
        &json!({ "token_file": path, "expires_at": ends_at }),
        &format!("you are logged in until {ends_at}, or two hours after the last command; the session is in {}", path.display()),
    );
    Ok(())
}

/// Ends the session in the file, and deletes the file.
pub async fn sign_out(
    args: &PortalArgs,
    server: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let path = server.session_file();
    let failed = |error| Failure::new(FailureKind::Failed, format!("{}: {error}", path.display()));
    let token = Zeroizing::new(fs::read_to_string(&path).map_err(failed)?);
    let portal = PortalClient::new(args, server)?;
    let fields = [("token", token.trim())];
    let revoked = portal.post::<serde_json::Value>("/oauth/revoke", &fields);
    revoked.await?.map_err(Refusal::into_failure)?;
    fs::remove_file(&path).map_err(failed)?;
    printer.print_result(&json!({ "ended": true }), "the session has ended");
    Ok(())
}

/// Returns what the person is told of this program.
fn program_name() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim() {
        "" => "bowline".to_owned(),
        host => format!("bowline on {host}"),
    }
}

/// Writes a file that nobody else reads, whole or not at all.
fn write_session(path: &Path, token: &str) -> std::io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let beside = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(token.as_bytes())?;
    file.sync_all()?;
    fs::rename(beside, path)
}
