//! `bowline deployment`: what separate processes need to start, a directory for each process, so that none has the
//! secrets of another.
//!
//! ```text
//! authority/        who issues: services/ca.{pem,key}, clients/ca.{pem,key}; no process has it
//! SERVICE/          certificates/{ca.pem,SERVICE.pem,SERVICE.key}, and redis-url, database-url, sealing-key, audit-key, control-keys/,
//!                  tls/
//! admin/            certificates/{ca.pem,admin.pem,admin.key}
//! postgres/, redis/ password, redis.conf
//! ```

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use bowline_audit_heads::create_audit_key;
use bowline_clock::{Clock as _, SystemClock, random_bytes};
use bowline_control_keys::ControlKeys;
use bowline_sealing::create_keys;
use bowline_service_kit::{Authority, ServiceName};
use bowline_standalone::keep_listener_certificate;
use chrono::NaiveDate;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::{certificates::certificate_failure, failure::Failure, output::Printer};

/// Where the services find PostgreSQL and Redis; the sample settings name the same.
const DATABASE_HOST: &str = "db.internal";
const REDIS_HOST: &str = "redis.internal";
/// The account and the database of all services.
const DATABASE: &str = "bowline";

/// The services with a database, and an audit trail in it.
const OWNERS: [&str; 3] = ["identity", "key-registry", "policy-compiler"];
/// What the heads of their trails are signed with.
const AUDIT_KEY: &str = "audit-key";

/// For whose eyes a file is.
const FOR_OWNER: u32 = 0o600;
/// For another account in a container that alone is given the directory.
const FOR_READERS: u32 = 0o644;

/// What to do with a deployment.
#[derive(Debug, Subcommand)]
pub enum DeploymentCommand {
    /// Make what is not there yet, and new certificates for the services; everything else stays.
    Create(DeploymentArgs),
}

/// What to make.
#[derive(Debug, Args)]
pub struct DeploymentArgs {
    /// Where to: a directory for each process is made in it.
    directory: PathBuf,
    /// The name or address that clients reach the gateways at.
    #[arg(long)]
    host: String,
    /// For how many days the certificates of the services are valid.
    #[arg(long, default_value_t = 90)]
    days: u64,
}

/// Runs a command.
pub fn run(command: &DeploymentCommand, printer: &Printer) -> Result<(), Failure> {
    let DeploymentCommand::Create(args) = command;
    let today = SystemClock.now().date_naive();
    let directory = &args.directory;
    issue_certificates(directory, args.days, today)?;
    make_secrets(directory)?;
    keep_client_certificate(directory, &args.host, today)?;
    let place = directory.display();
    let text = format!(
        "what each process needs is in {place}; the services' certificates are valid for {} days, and made anew by the same command",
        args.days
    );
    printer.print_result(&json!({ "directory": directory }), &text);
    Ok(())
}

/// Gives each service and an administrator a new certificate of the deployment's authority.
fn issue_certificates(directory: &Path, days: u64, today: NaiveDate) -> Result<(), Failure> {
    let place = directory.join("authority/services");
    fs::create_dir_all(&place)?;
    // One that can not be read is never replaced: the services trust it.
    let authority = if place.join("ca.key").exists() {
        Authority::load(&place).map_err(certificate_failure)?
    } else {
        let made = Authority::generate(today).map_err(certificate_failure)?;
        made.save(&place).map_err(certificate_failure)?;
        made
    };
    let authority = authority.for_days(days).map_err(certificate_failure)?;
    let save = |name: &str, issued: Result<bowline_service_kit::Certificates, _>| {
        let place = directory.join(name).join("certificates");
        fs::create_dir_all(&place)?;
        let issued = issued.map_err(certificate_failure)?;
        issued.save(&place, name).map_err(certificate_failure)?;
        Ok::<_, Failure>(())
    };
    for service in ServiceName::ALL {
        save(service.as_str(), authority.issue_service(service, today))?;
    }
    save("admin", authority.issue_admin("admin", today))
}

/// Makes the control keys, the sealing key, the audit key, and the passwords of PostgreSQL and Redis.
fn make_secrets(directory: &Path) -> Result<(), Failure> {
    ControlKeys::create(&directory.join("netmap-gateway/control-keys"))?;
    let sealing_key = directory.join("identity/sealing-key");
    if !sealing_key.exists() {
        create_keys(&sealing_key)?;
    }
    let audit_key = directory.join(OWNERS[0]).join(AUDIT_KEY);
    if !audit_key.exists() {
        create_audit_key(&audit_key)?;
    }
    let audit_key = fs::read_to_string(audit_key)?;
    let password = keep_password(&directory.join("postgres/password"))?;
    let url = format!("postgres://{DATABASE}:{password}@{DATABASE_HOST}/{DATABASE}\n");
    for owner in OWNERS {
        write_whole(&directory.join(owner).join("database-url"), &url, FOR_OWNER)?;
        write_whole(
            &directory.join(owner).join(AUDIT_KEY),
            &audit_key,
            FOR_OWNER,
        )?;
    }
    let password = keep_password(&directory.join("redis/password"))?;
    // Hints are no data: nothing is kept.
    let settings = format!("requirepass {password}\nsave \"\"\nappendonly no\n");
    write_whole(&directory.join("redis/redis.conf"), &settings, FOR_READERS)?;
    let url = format!("redis://:{password}@{REDIS_HOST}:6379\n");
    for user in [
        "identity",
        "key-registry",
        "policy-compiler",
        "netmap-gateway",
    ] {
        write_whole(&directory.join(user).join("redis-url"), &url, FOR_OWNER)?;
    }
    Ok(())
}

/// Gives the gateways a certificate of an authority that clients are told to trust.
fn keep_client_certificate(directory: &Path, host: &str, today: NaiveDate) -> Result<(), Failure> {
    let files = keep_listener_certificate(&directory.join("authority/clients"), host, today)?;
    let place = directory.join("netmap-gateway/tls");
    for (from, name, mode) in [
        (files.authority, "ca.pem", FOR_READERS),
        (files.key, "key.pem", FOR_OWNER),
        (files.certificate, "certificate.pem", FOR_READERS),
    ] {
        write_whole(&place.join(name), &fs::read_to_string(from)?, mode)?;
    }
    Ok(())
}

/// Returns the password in a file, made when it is not there.
fn keep_password(path: &Path) -> Result<String, Failure> {
    if path.exists() {
        return Ok(fs::read_to_string(path)?.trim().to_owned());
    }
    let made: String = random_bytes::<24>()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    write_whole(path, &format!("{made}\n"), FOR_READERS)?;
    Ok(made)
}

/// Writes a file in one step: whoever reads it finds the old text or the new one.
fn write_whole(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let directory = path.parent().unwrap_or(path);
    fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
