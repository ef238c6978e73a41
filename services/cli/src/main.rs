//! The bowline command line: starts a server, and administers one over gRPC.

mod administer;
mod api_keys;
mod attributes;
mod audit;
mod audit_key;
mod backup;
mod certificates;
mod conditions;
mod connection;
mod connections;
mod control_keys;
mod database_urls;
mod deployment;
mod dns;
mod doctor;
mod failure;
mod first_key;
mod groups;
mod health;
mod import;
mod invitations;
mod key_policy;
mod keys;
mod lock;
mod logins;
mod migrate;
mod nodes;
mod oauth_clients;
mod output;
mod policy;
mod restore;
mod revocation;
mod scim_tokens;
mod sealing_key;
mod server;
mod sessions;
mod sign_in;
mod status;
mod tailnets;
mod time;
mod users;
mod webhooks;

use std::process::ExitCode;

use bowline_service_kit::RequestId;
use clap::{CommandFactory as _, Parser, Subcommand};

use connection::ConnectionArgs;
use failure::Failure;
use output::{Format, Printer};

/// Coordinates WireGuard networks that Tailscale clients join.
#[derive(Debug, Parser)]
#[command(name = "bowline", version)]
struct Arguments {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// How answers look.
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a network from this machine, with everything in one process.
    Serve(server::ServeArgs),
    /// Relay packets of clients that can not reach each other, beside a server of separate processes.
    Relay(server::RelayArgs),
    /// Say whether the server answers, what it holds, and how its processes, gateways and databases are.
    Status,
    /// Check a server from here, as clients see it: names, certificates, the way through proxies, relays; and say what to mend.
    Doctor(doctor::DoctorArgs),
    /// Say whether a process serves, for health checks.
    Health(health::HealthArgs),
    /// Make a first tailnet, its owner and a key where there is nothing yet, and show how to join a machine.
    FirstKey,
    /// Networks.
    #[command(subcommand)]
    Tailnets(tailnets::TailnetsCommand),
    /// People.
    #[command(subcommand)]
    Users(users::UsersCommand),
    /// Groups of people, for the policy.
    #[command(subcommand)]
    Groups(groups::GroupsCommand),
    /// Devices.
    #[command(subcommand)]
    Nodes(nodes::NodesCommand),
    /// What postures of the policy ask of devices: custom attributes, also for a while.
    #[command(subcommand)]
    Attributes(attributes::AttributesCommand),
    /// Keys that add devices without a browser.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Tailnet lock: which keys may let devices in. Devices change it, with `tailscale lock`.
    #[command(subcommand)]
    Lock(lock::LockCommand),
    /// Keys of people for the API, and for this command at an administration address.
    #[command(subcommand)]
    ApiKeys(api_keys::ApiKeysCommand),
    /// Programs that administer, each with tokens of an hour.
    #[command(subcommand, name = "oauth-clients")]
    OAuthClients(oauth_clients::OAuthClientsCommand),
    /// Tokens that identity providers bring users and groups with, by SCIM.
    #[command(subcommand)]
    ScimTokens(scim_tokens::ScimTokensCommand),
    /// Devices that wait for somebody to let them in.
    #[command(subcommand)]
    Logins(logins::LoginsCommand),
    /// Identity providers that people log in by.
    #[command(subcommand)]
    Connections(connections::ConnectionsCommand),
    /// What logins by providers must be like: a second factor, a recent login, a network.
    #[command(subcommand)]
    Conditions(conditions::ConditionsCommand),
    /// Links that let one person in, without an identity provider.
    #[command(subcommand)]
    Invitations(invitations::InvitationsCommand),
    /// Log in as a person, in any browser: later commands with --address act for that person.
    SignIn(sign_in::PortalArgs),
    /// End that session.
    SignOut,
    /// People's sessions in browsers, and of programs at a terminal.
    #[command(subcommand)]
    Sessions(sessions::SessionsCommand),
    /// What clients resolve names with: nameservers, split DNS, search domains, MagicDNS, more names.
    #[command(subcommand)]
    Dns(dns::DnsCommand),
    /// Which keys and logins may add which devices, from where, and how many.
    #[command(subcommand)]
    KeyPolicy(key_policy::KeyPolicyCommand),
    /// Who may reach what.
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Addresses that are told what happens.
    #[command(subcommand)]
    Webhooks(webhooks::WebhooksCommand),
    /// What was done, by whom and when.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Move a network here from another server.
    #[command(subcommand)]
    Import(import::ImportCommand),
    /// The settings file.
    #[command(subcommand)]
    Config(server::ConfigCommand),
    /// The server's own keys.
    #[command(subcommand)]
    ControlKeys(control_keys::ControlKeysCommand),
    /// The key that exported heads of audit trails are signed with.
    #[command(subcommand)]
    AuditKey(audit_key::AuditKeyCommand),
    /// The key that seals the secrets of identity providers.
    #[command(subcommand)]
    SealingKey(sealing_key::SealingKeyCommand),
    /// Certificates for services that run as separate processes.
    #[command(subcommand)]
    Certificates(certificates::CertificatesCommand),
    /// What separate processes need to start.
    #[command(subcommand)]
    Deployment(deployment::DeploymentCommand),
    /// Bring the databases of separate processes to what this release knows, before its services start.
    Migrate(migrate::MigrateArgs),
    /// Write all databases, and the other files of a state directory, to one file, while the server runs.
    Backup(backup::BackupArgs),
    /// Make the databases from a backup, for a server that does not run.
    Restore(restore::RestoreArgs),
    /// Bring a server of one process to databases of separate processes.
    MigrateDeployment(restore::MoveArgs),
    /// Completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::from(error).report_failure(),
    };
    // One id for all that the command asks: with it the server's logs tell what became of it.
    match runtime.block_on(RequestId::random().scope(run(arguments))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report_failure(),
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments {
        connection,
        output,
        command,
    } = arguments;
    let printer = Printer::new(output);
    match command.unwrap_or_else(|| Command::Serve(server::ServeArgs::default())) {
        Command::Serve(args) => server::serve_all(connection, args).await,
        Command::Relay(args) => server::run_relay(connection, args).await,
        Command::Status => status::run(&connection, &printer).await,
        Command::Doctor(args) => doctor::run(&args, &connection, &printer).await,
        Command::Health(args) => health::run(&args, &printer),
        Command::FirstKey => first_key::run(&connection, &printer).await,
        Command::Tailnets(command) => tailnets::run(command, &connection, &printer).await,
        Command::Users(command) => users::run(command, &connection, &printer).await,
        Command::Groups(command) => groups::run(command, &connection, &printer).await,
        Command::Nodes(command) => nodes::run(command, &connection, &printer).await,
        Command::Attributes(command) => attributes::run(command, &connection, &printer).await,
        Command::Keys(command) => keys::run(command, &connection, &printer).await,
        Command::Lock(command) => lock::run(command, &connection, &printer).await,
        Command::ApiKeys(command) => api_keys::run(command, &connection, &printer).await,
        Command::OAuthClients(command) => oauth_clients::run(command, &connection, &printer).await,
        Command::ScimTokens(command) => scim_tokens::run(command, &connection, &printer).await,
        Command::Logins(command) => logins::run(command, &connection, &printer).await,
        Command::Connections(command) => connections::run(command, &connection, &printer).await,
        Command::Conditions(command) => conditions::run(command, &connection, &printer).await,
        Command::Invitations(command) => invitations::run(command, &connection, &printer).await,
        Command::SignIn(args) => sign_in::sign_in(&args, &connection, &printer).await,
        Command::SignOut => sign_in::sign_out(&connection, &printer).await,
        Command::Sessions(command) => sessions::run(command, &connection, &printer).await,
        Command::Dns(command) => dns::run(command, &connection, &printer).await,
        Command::KeyPolicy(command) => key_policy::run(command, &connection, &printer).await,
        Command::Policy(command) => policy::run(command, &connection, &printer).await,
        Command::Webhooks(command) => webhooks::run(command, &connection, &printer).await,
        Command::Audit(command) => audit::run(command, &connection, &printer).await,
        Command::Import(command) => import::run(command, &connection, &printer).await,
        Command::Config(command) => server::run_config(command, &connection, &printer),
        Command::ControlKeys(command) => control_keys::run(command, &connection, &printer).await,
        Command::AuditKey(command) => audit_key::run(&command, &printer),
        Command::SealingKey(command) => sealing_key::run(&command, &printer),
        Command::Certificates(command) => certificates::run(&command, &printer),
        Command::Deployment(command) => deployment::run(&command, &printer),
        Command::Migrate(args) => migrate::run(&args, &connection, printer).await,
        Command::Backup(args) => backup::run(&args, &connection, printer).await,
        Command::Restore(args) => restore::run(&args, &connection, printer).await,
        Command::MigrateDeployment(args) => restore::migrate(&args, &connection, printer).await,
        Command::Completions { shell } => {
            let (mut command, mut script) = (Arguments::command(), Vec::new());
            clap_complete::generate(shell, &mut command, "bowline", &mut script);
            printer.write_stdout(String::from_utf8_lossy(&script).trim_end());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
