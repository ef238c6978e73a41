//! How the command finds the server: the admin socket of a local one, or addresses and a client certificate.

use std::path::{Path, PathBuf};

use bowline_service_kit::{
    Certificates, GrpcChannel, IdempotencyKeys, ServiceName, certificates::CertificateFiles,
    install_crypto_provider,
};
use clap::Args;
use zeroize::Zeroizing;

use crate::failure::{Failure, FailureKind};

/// What the options are listed under in each command's help.
const HEADING: &str = "Where the server is";

/// What the option about repeats is listed under.
const REPEATING: &str = "Repeating a command";

/// Where the server is.
#[derive(Clone, Debug, Args)]
pub struct ConnectionArgs {
    /// The directory of the local server.
    #[arg(long, global = true, help_heading = HEADING, env = "BOWLINE_STATE_DIR", default_value_os_t = default_state_dir())]
    pub state_dir: PathBuf,
    /// Administration address `host:port` of a server, to call with a token.
    #[arg(long, global = true, help_heading = HEADING, env = "BOWLINE_ADDRESS")]
    address: Option<String>,
    /// The file with the token: an API key, an access token of an OAuth client, or a session. That of `bowline sign-in` when not
    /// given.
    #[arg(long, global = true, help_heading = HEADING, env = "BOWLINE_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// Address `host:port` of the identity service, for a server of separate processes.
    #[arg(long, global = true, help_heading = HEADING, env = "BOWLINE_IDENTITY")]
    identity: Option<String>,
    /// Address of the key-registry service.
    #[arg(long, global = true, help_heading = HEADING, env = "BOWLINE_KEY_REGISTRY")]
    key_registry: Option<String>,
    /// Address of the policy-compiler service.
    #[arg(long, global = true, help_heading = HEADING, env = "BOWLINE_POLICY_COMPILER")]
    policy_compiler: Option<String>,
    /// The certificate authority of the services, or of the administration address when the system does not trust it.
    #[arg(long, global = true, help_heading = HEADING, env = "BOWLINE_CA")]
    ca: Option<PathBuf>,
    /// The administrator's certificate.
    #[arg(long, global = true, help_heading = HEADING, env = "BOWLINE_CERT")]
    cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, global = true, help_heading = HEADING, env = "BOWLINE_CERT_KEY")]
    key: Option<PathBuf>,
    /// A name for what the command changes, so that it is done once however often it is sent: 16 to 64 random characters, such as a
    /// UUID, new for each change. Given again with the same command, within a day, it answers as before. Each call has one of its
    /// own when not given.
    #[arg(long, global = true, help_heading = REPEATING, value_name = "KEY", value_parser = read_key)]
    idempotency_key: Option<IdempotencyKeys>,
    /// Whose certificates are not taken although they are valid.
    #[arg(long, global = true, help_heading = HEADING, env = "BOWLINE_DENIED")]
    denied: Option<PathBuf>,
}

/// Returns where a server of this account keeps its state.
#[expect(
    clippy::disallowed_methods,
    reason = "where accounts keep what programs store"
)]
fn default_state_dir() -> PathBuf {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    match std::env::var_os("XDG_DATA_HOME").map(PathBuf::from) {
        Some(data) => data.join("bowline"),
        // Without a home directory the state is below the working directory.
        None => home.unwrap_or_default().join(".local/share/bowline"),
    }
}

/// Returns where the sessions of an account are kept, each for one server.
#[expect(
    clippy::disallowed_methods,
    reason = "where accounts keep what programs store"
)]
fn default_session_dir() -> PathBuf {
    // A directory that is not absolute is none of the account's.
    let absolute = |name| {
        let path = std::env::var_os(name).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let home = || absolute("HOME").map(|home| home.join(".local/state"));
    let state = absolute("XDG_STATE_HOME").or_else(home);
    state
        .unwrap_or_else(|| PathBuf::from("/"))
        .join("bowline/sessions")
}

/// Returns the name of an address's session: one that is a file name, whatever the address has.
fn session_file_name(address: &str) -> String {
    let to_part = |c: char| match c {
        'a'..='z' | '0'..='9' | '.' | '-' | ':' => c,
        'A'..='Z' => c.to_ascii_lowercase(),
        _ => '_',
    };
    let name: String = address.chars().map(to_part).collect();
    name.trim_start_matches('.').to_owned()
}

fn read_key(text: &str) -> Result<IdempotencyKeys, String> {
    let problem = "has to be 16 to 64 printable characters without spaces, random and new for each change: such as a UUID";
    IdempotencyKeys::from_chosen(text).ok_or_else(|| problem.to_owned())
}

impl ConnectionArgs {
    /// Says whether the server is one of separate processes.
    pub fn is_remote(&self) -> bool {
        [&self.identity, &self.key_registry, &self.policy_compiler]
            .into_iter()
            .any(Option::is_some)
    }

    /// Says whether the server may be on another machine.
    pub fn is_elsewhere(&self) -> bool {
        self.is_remote() || self.is_by_token()
    }

    /// Returns a channel to a service, on which each change is done once, also when its answer is lost on the way.
    pub fn connect_to(&self, service: ServiceName) -> Result<GrpcChannel, Failure> {
        let keys = self.idempotency_key.clone().unwrap_or_default();
        Ok(self.find_channel(service)?.with_idempotency_keys(keys))
    }

    fn find_channel(&self, service: ServiceName) -> Result<GrpcChannel, Failure> {
        if let Some(address) = &self.address {
            return self.connect_by_token(address);
        }
        if self.token_file.is_some() {
            let text = "a token is taken at an administration address: name it with --address, such as vpn.example.com:8445";
            return Err(Failure::new(FailureKind::Failed, text));
        }
        if !self.is_remote() {
            return Ok(GrpcChannel::admin_socket(self.state_dir.join("admin.sock")));
        }
        let (address, flag) = match service {
            ServiceName::Identity => (&self.identity, "--identity"),
            ServiceName::KeyRegistry => (&self.key_registry, "--key-registry"),
            _ => (&self.policy_compiler, "--policy-compiler"),
        };
        let address = require_flag(address, flag)?;
        let (authority, certificate, key) = (
            require_flag(&self.ca, "--ca")?,
            require_flag(&self.cert, "--cert")?,
            require_flag(&self.key, "--key")?,
        );
        install_crypto_provider();
        let files = CertificateFiles {
            authority: authority.clone(),
            certificate: certificate.clone(),
            key: key.clone(),
            denied: self.denied.clone(),
        };
        let failed =
            |error: &dyn std::error::Error| Failure::new(FailureKind::Failed, error.to_string());
        let certificates = Certificates::load(&files).map_err(|error| failed(&error))?;
        GrpcChannel::remote(service, std::slice::from_ref(address), &certificates)
            .map_err(|error| failed(&error))
    }

    /// Returns the file that `bowline sign-in` writes and later commands read: it has the session at this server alone.
    pub fn session_file(&self) -> Result<PathBuf, Failure> {
        match (&self.token_file, &self.address) {
            (Some(path), _) => Ok(path.clone()),
            (None, Some(address)) => Ok(default_session_dir().join(session_file_name(address))),
            (None, None) => {
                let text = "name the administration address that the session is for with --address, such as vpn.example.com:8445, or a file for it with --token-file";
                Err(Failure::new(FailureKind::Failed, text))
            }
        }
    }

    /// Returns the certificate authority that is named.
    pub fn authority(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// Returns the administration address that is named.
    pub fn administration_address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// Says whether a token calls, which acts in one tailnet.
    pub fn is_by_token(&self) -> bool {
        self.address.is_some()
    }

    fn connect_by_token(&self, address: &str) -> Result<GrpcChannel, Failure> {
        let failed = |text: String| Failure::new(FailureKind::Failed, text);
        let path = self.session_file()?;
        if self.token_file.is_none() && !path.exists() {
            let text = "an administration address is called with a token: log in with bowline sign-in, or name a file that has one with --token-file";
            return Err(failed(text.to_owned()));
        }
        let token = std::fs::read_to_string(&path)
            .map_err(|error| failed(format!("{}: {error}", path.display())))?;
        let token = Zeroizing::new(token);
        // A session has the server's public URL in the line below.
        let token = token.trim().lines().next().unwrap_or_default();
        install_crypto_provider();
        GrpcChannel::administration(address, self.ca.as_deref(), token)
            .map_err(|error| failed(error.to_string()))
    }

    /// Returns a channel to identity.
    pub fn connect_to_identity(&self) -> Result<GrpcChannel, Failure> {
        self.connect_to(ServiceName::Identity)
    }

    /// Returns a channel to the key registry.
    pub fn connect_to_registry(&self) -> Result<GrpcChannel, Failure> {
        self.connect_to(ServiceName::KeyRegistry)
    }

    /// Returns a channel to the policy compiler.
    pub fn connect_to_compiler(&self) -> Result<GrpcChannel, Failure> {
        self.connect_to(ServiceName::PolicyCompiler)
    }
}

/// Returns what a server of separate processes needs to be named.
fn require_flag<'a, T>(value: &'a Option<T>, flag: &str) -> Result<&'a T, Failure> {
    value.as_ref().ok_or_else(|| {
        let text =
            format!("a server of separate processes needs {flag} for this: see `bowline help`");
        Failure::new(FailureKind::Failed, text)
    })
}
