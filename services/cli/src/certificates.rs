//! `bowline certificates`: with which services and administrators prove themselves to each other.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bowline_clock::{Clock as _, SystemClock};
use bowline_service_kit::{Authority, ServiceName};
use chrono::NaiveDate;
use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use crate::{
    failure::{Failure, FailureKind},
    output::{Printer, Row},
};

/// What to do with certificates.
#[derive(Debug, Subcommand)]
pub enum CertificatesCommand {
    /// Make an authority, a certificate for each service, and one for an administrator.
    Create {
        /// Where to.
        directory: PathBuf,
        /// The administrator's name.
        #[arg(long, default_value = "admin")]
        admin: String,
        /// For how many days they are valid.
        #[arg(long, default_value_t = 90)]
        days: u64,
    },
    /// Make the certificates in a directory anew, with new keys; processes that use them there read them without a
    /// restart.
    Renew {
        /// Where they are, with the authority and its key.
        directory: PathBuf,
        /// For how many days they are valid.
        #[arg(long, default_value_t = 90)]
        days: u64,
    },
}

/// A certificate that was made anew.
#[derive(Debug, Serialize)]
struct RenewedCertificateRow {
    name: String,
    holder: String,
    last_day: NaiveDate,
}

impl Row for RenewedCertificateRow {
    const HEADS: &'static [&'static str] = &["name", "holder", "last day"];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.holder.clone(),
            self.last_day.to_string(),
        ]
    }
}

/// Runs a command.
pub fn run(command: &CertificatesCommand, printer: &Printer) -> Result<(), Failure> {
    match command {
        CertificatesCommand::Create {
            directory,
            admin,
            days,
        } => create_certificates(directory, admin, days_from_today(*days), printer),
        CertificatesCommand::Renew { directory, days } => {
            renew_certificates(directory, days_from_today(*days), printer)
        }
    }
}

/// How long new certificates are valid.
#[derive(Clone, Copy)]
struct CertificateDays {
    today: NaiveDate,
    days: u64,
}

fn days_from_today(days: u64) -> CertificateDays {
    let today = SystemClock.now().date_naive();
    CertificateDays { today, days }
}

fn create_certificates(
    directory: &Path,
    admin: &str,
    valid: CertificateDays,
    printer: &Printer,
) -> Result<(), Failure> {
    let CertificateDays { today, days } = valid;
    fs::create_dir_all(directory)?;
    let authority = match Authority::load(directory) {
        Ok(authority) => authority,
        Err(_) => {
            let authority = Authority::generate(today).map_err(certificate_failure)?;
            authority.save(directory).map_err(certificate_failure)?;
            authority
        }
    };
    let authority = authority.for_days(days).map_err(certificate_failure)?;
    for service in ServiceName::ALL {
        let certificates = authority
            .issue_service(service, today)
            .map_err(certificate_failure)?;
        certificates
            .save(directory, service.as_str())
            .map_err(certificate_failure)?;
    }
    let certificates = authority
        .issue_admin(admin, today)
        .map_err(certificate_failure)?;
    certificates
        .save(directory, admin)
        .map_err(certificate_failure)?;
    let place = directory.display();
    let text = format!(
        "certificates for all services and {admin} are in {place}, valid for {days} days: `bowline certificates renew {place}` makes the next"
    );
    printer.print_result(&json!({ "directory": directory }), &text);
    Ok(())
}

fn renew_certificates(
    directory: &Path,
    valid: CertificateDays,
    printer: &Printer,
) -> Result<(), Failure> {
    let CertificateDays { today, days } = valid;
    let authority = Authority::load(directory).map_err(certificate_failure)?;
    let authority = authority.for_days(days).map_err(certificate_failure)?;
    let mut renewed = Vec::new();
    for name in certificate_names(directory)? {
        let text = fs::read_to_string(directory.join(format!("{name}.pem")))?;
        let (caller, certificates) = authority
            .renew_certificate(&text, today)
            .map_err(|error| Failure::new(FailureKind::Failed, format!("{name}.pem: {error}")))?;
        certificates
            .save(directory, &name)
            .map_err(certificate_failure)?;
        renewed.push(RenewedCertificateRow {
            name,
            holder: caller.to_string(),
            last_day: today + chrono::Days::new(days),
        });
    }
    if renewed.is_empty() {
        let place = directory.display();
        let text = format!(
            "there are no certificates in {place}: `bowline certificates create` makes the first"
        );
        return Err(Failure::new(FailureKind::NotFound, text));
    }
    printer.print_rows(&renewed);
    Ok(())
}

/// Returns the names of the certificates that lie beside their keys, the authority's left out.
fn certificate_names(directory: &Path) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_pair = path.extension().is_some_and(|end| end == "pem")
            && path.with_extension("key").is_file();
        if let Some(name) = path.file_stem().and_then(|name| name.to_str())
            && is_pair
            && name != "ca"
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

pub(crate) fn certificate_failure(error: impl std::error::Error) -> Failure {
    Failure::new(FailureKind::Failed, bowline_service_kit::error_text(&error))
}
