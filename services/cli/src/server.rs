//! Commands about the server itself: starting it, and its settings.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use bowline_standalone::{
    AcmeConfig, ConfigReport, Options, RelayBackends, RelayConfig, RelayProcess,
};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::{
    connection::ConnectionArgs,
    failure::{Failure, FailureKind},
    output::Printer,
};

/// How to serve.
#[derive(Debug, Default, Args)]
pub struct ServeArgs {
    /// The settings file; `bowline.toml` in the state directory when there is one.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where clients connect.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// The URL clients are given.
    #[arg(long)]
    public_url: Option<String>,
}

/// Serves until a signal.
pub async fn serve_all(connection: ConnectionArgs, args: ServeArgs) -> Result<(), Failure> {
    let ServeArgs {
        config,
        listen,
        public_url,
    } = args;
    let options = Options {
        state_dir: connection.state_dir,
        config,
        listen,
        public_url,
    };
    Ok(bowline_standalone::run(options).await?)
}

/// How to relay.
#[derive(Debug, Args)]
pub struct RelayArgs {
    /// The name or address clients reach this relay at.
    #[arg(long)]
    host: String,
    /// Where clients connect with DERP over TLS.
    #[arg(long, default_value = "0.0.0.0:8444")]
    listen: SocketAddr,
    /// Where clients ask for their public address with STUN.
    #[arg(long, default_value = "0.0.0.0:3478")]
    stun_listen: SocketAddr,
    /// Where to write the DERP map that tells clients of this relay; the gateways read it.
    #[arg(long)]
    map: PathBuf,
    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, default_value = "127.0.0.1:9090")]
    telemetry_listen: SocketAddr,
    #[command(flatten)]
    acme: AcmeArgs,
}

/// How a relay gets a certificate from an authority that clients trust, in place of one of its own that they know by its
/// hash. What it keeps is in the state directory.
#[derive(Debug, Args)]
struct AcmeArgs {
    /// Order a certificate for --host by ACME, and agree to the authority's terms of service.
    #[arg(long)]
    acme_agree_to_terms: bool,
    /// The URL of the authority's directory; Let's Encrypt's when not given.
    #[arg(long, requires = "acme_agree_to_terms")]
    acme_directory_url: Option<String>,
    /// The authorities (PEM) that the directory's own certificate may be from, in place of the machine's.
    #[arg(long, requires = "acme_agree_to_terms")]
    acme_directory_ca_file: Option<PathBuf>,
    /// An e-mail address that the authority may write to.
    #[arg(long, requires = "acme_agree_to_terms")]
    acme_contact: Option<String>,
    /// Where HTTP-01 challenges are answered, such as 0.0.0.0:80; without it TLS-ALPN-01 challenges are, at --listen.
    #[arg(long, requires = "acme_agree_to_terms")]
    acme_http_listen: Option<SocketAddr>,
}

impl AcmeArgs {
    fn into_config(self, state_dir: &Path) -> AcmeConfig {
        let usual = AcmeConfig::default();
        AcmeConfig {
            agree_to_terms: self.acme_agree_to_terms,
            directory_url: self.acme_directory_url.unwrap_or(usual.directory_url),
            directory_ca_file: self.acme_directory_ca_file,
            contact: self.acme_contact,
            hosts: Vec::new(),
            http_listen: self.acme_http_listen,
            state_dir: state_dir.join(usual.state_dir),
        }
    }
}

/// Relays until a signal.
pub async fn run_relay(connection: ConnectionArgs, args: RelayArgs) -> Result<(), Failure> {
    let RelayArgs {
        host,
        listen,
        stun_listen,
        map,
        telemetry_listen,
        acme,
    } = args;
    if !connection.is_remote() {
        let text = "a relay asks separate services whom it may serve: name them with --key-registry and --identity";
        return Err(Failure::new(FailureKind::Failed, text));
    }
    let owners = RelayBackends {
        registry: connection.connect_to_registry()?,
        identity: connection.connect_to_identity()?,
    };
    let config = RelayConfig {
        enabled: true,
        listen,
        stun_listen,
    };
    let process = RelayProcess {
        acme: acme.into_config(&connection.state_dir),
        state_dir: connection.state_dir,
        config,
        host,
        owners,
        map,
        telemetry_listen,
    };
    Ok(bowline_standalone::relay(process).await?)
}

/// What to do with the settings file.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say everything that is wrong with a settings file of `bowline serve`, and what it leaves clients without.
    Check {
        /// The file.
        file: PathBuf,
    },
}

/// Checks a settings file.
pub fn run_config(
    command: ConfigCommand,
    connection: &ConnectionArgs,
    printer: &Printer,
) -> Result<(), Failure> {
    let ConfigCommand::Check { file } = command;
    let options = Options {
        state_dir: connection.state_dir.clone(),
        config: Some(file),
        listen: None,
        public_url: None,
    };
    let ConfigReport { problems, warnings } = bowline_standalone::check_config(&options);
    if !problems.is_empty() {
        return Err(Failure::new(
            FailureKind::Failed,
            problems.join("\nbowline: "),
        ));
    }
    let answer = json!({ "valid": true, "warnings": warnings });
    let mut text = vec!["the settings are valid".to_owned()];
    text.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
    printer.print_result(&answer, &text.join("\n"));
    Ok(())
}
