//! `bowline sign-in` and `sign-out`: a session for this command, whose person logs in in any browser (RFC 8628).

use std::{
    fmt, fs,
    io::Write as _,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use bowline_clock::{Clock as _, SystemClock};
use bowline_http_client::{AnswerLimits, Destinations, HttpClient};
use bowline_service_kit::{error_text, install_crypto_provider, trusted_authorities};
use bowline_tokens::{PresentedToken, TokenKind};
use bytes::Bytes;
use chrono::{SecondsFormat, TimeDelta};
use clap::Args;
use http::{Request, header};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::time::{Instant, sleep};
use url::{Host, Url, form_urlencoded};
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
/// The longest that a person is waited for, and the longest life of a session that is believed; in seconds.
const LONGEST_LOGIN: u64 = 3600;
const LONGEST_SESSION: i64 = 30 * 24 * 3600;
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
        let text = without_controls(&text);
        Failure::new(kind, text)
    }
}

/// The portal of a server.
struct PortalClient {
    client: HttpClient,
    url: Url,
}

impl PortalClient {
    fn new(url: Url, server: &ConnectionArgs) -> Result<Self, Failure> {
        if url.scheme() != "https" && !is_this_machine(&url) {
            let text = format!("{url}: a session goes by https alone, but on this machine");
            return Err(Failure::new(FailureKind::Refused, text));
        }
        install_crypto_provider();
        let authorities = trusted_authorities(server.authority())
            .map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
        let client = HttpClient::trusting(authorities, Destinations::Anywhere, LIMITS);
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
        let end = Instant::now() + Duration::from_secs(begun.expires_in.min(LONGEST_LOGIN));
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
                    _ if Instant::now() >= end => return Err(refusal.into_failure()),
                    "authorization_pending" | "temporarily_unavailable" => {}
                    "slow_down" => interval += Duration::from_secs(5),
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
    let file = SessionFile::new(server)?;
    file.check_replaceable()?;
    let portal = PortalClient::new(args.url.clone(), server)?;
    let name = program_name();
    let fields = [("client_id", name.as_str())];
    let begun = portal.post::<BegunLogin>("/oauth/device_authorization", &fields);
    let begun = begun.await?.map_err(Refusal::into_failure)?;
    let shown = format!(
        "Open {} in any browser, and check that it shows the code {}.\nOr go to {} and type it. Waiting for {} minutes …",
        without_controls(&begun.verification_uri_complete),
        without_controls(&begun.user_code),
        without_controls(&begun.verification_uri),
        begun.expires_in.min(LONGEST_LOGIN) / 60,
    );
    printer.instruct(&shown);
    let session = portal.await_session(&begun).await?;
    file.write(&session.access_token, &portal.url)?;
    let lifetime = TimeDelta::seconds(session.expires_in.clamp(0, LONGEST_SESSION));
    let ends_at = (SystemClock.now() + lifetime).to_rfc3339_opts(SecondsFormat::Secs, true);
    let path = &file.0;
    printer.print_result(
        &json!({ "token_file": path, "expires_at": ends_at }),
        &format!(
            "you are logged in until {ends_at}, or until two hours after the last command; the session is in {}",
            path.display()
        ),
    );
    Ok(())
}

/// Ends the session in the file, and deletes the file.
pub async fn sign_out(server: &ConnectionArgs, printer: &Printer) -> Result<(), Failure> {
    let file = SessionFile::new(server)?;
    let (token, url) = file.read()?;
    let portal = PortalClient::new(url, server)?;
    let fields = [("token", token.as_str())];
    let revoked = portal.post::<serde_json::Value>("/oauth/revoke", &fields);
    revoked.await?.map_err(Refusal::into_failure)?;
    fs::remove_file(&file.0).map_err(|error| file.failure(&error))?;
    printer.print_result(&json!({ "ended": true }), "the session has ended");
    Ok(())
}

/// The file of a session: the token, and in the next line the public URL of its server.
struct SessionFile(PathBuf);

impl SessionFile {
    fn new(server: &ConnectionArgs) -> Result<Self, Failure> {
        server.session_file().map(Self)
    }

    fn failure(&self, problem: &dyn fmt::Display) -> Failure {
        let text = format!("{}: {problem}", self.0.display());
        Failure::new(FailureKind::Failed, text)
    }

    fn read(&self) -> Result<(Zeroizing<String>, Url), Failure> {
        let text = fs::read_to_string(&self.0).map_err(|error| self.failure(&error))?;
        let text = Zeroizing::new(text);
        let mut lines = text.lines();
        let token = lines.next().unwrap_or_default();
        let is_session = PresentedToken::parse_as(TokenKind::Session, token).is_some();
        let url = lines.next().and_then(|line| line.parse().ok());
        match (is_session, url) {
            (true, Some(url)) => Ok((Zeroizing::new(token.to_owned()), url)),
            _ => Err(self.failure(&"this is no session of bowline sign-in")),
        }
    }

    /// Refuses to write over what is not a session, such as an API key: it can not be had again.
    fn check_replaceable(&self) -> Result<(), Failure> {
        match self.0.exists() {
            true => self.read().map(drop),
            false => Ok(()),
        }
    }

    /// Writes a file that nobody else reads, whole or not at all.
    fn write(&self, token: &str, url: &Url) -> Result<(), Failure> {
        let directory = self.0.parent().filter(|path| !path.as_os_str().is_empty());
        let directory = directory.unwrap_or(Path::new("."));
        let written = || -> std::io::Result<()> {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
            let mut file = NamedTempFile::new_in(directory)?;
            writeln!(file, "{token}\n{url}")?;
            file.as_file().sync_all()?;
            file.persist(&self.0)?;
            Ok(())
        };
        written().map_err(|error| self.failure(&error))
    }
}

/// Says whether a URL leads to this machine, where nobody listens in.
fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Returns a text of the server without what moves the cursor.
fn without_controls(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Returns what the person is told of this program.
fn program_name() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim() {
        "" => "bowline".to_owned(),
        host => format!("bowline on {host}"),
    }
}
