//! A private authority: issues the certificates of one deployment.

use std::fmt;
use std::path::Path;

use chrono::{Datelike, Days, NaiveDate};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use zeroize::Zeroizing;

use super::{Certificates, FileError, read_text, write_text};
use crate::caller::is_admin_name;
use crate::{Caller, ServiceName};

/// How long the authority is valid, in days.
const AUTHORITY_DAYS: u64 = 10 * 365;

/// How long what it issues is valid unless somebody says otherwise, in days.
const USUAL_DAYS: u64 = 90;
/// The longest that what it issues may be valid, in days.
const MOST_DAYS: u64 = 10 * 365;

/// An authority of one deployment, with its key.
pub struct Authority {
    certificate: String,
    key: Zeroizing<String>,
    /// How long what it issues is valid, in days.
    days: u64,
}

/// Why a certificate was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The name has characters that do not belong in logs.
    #[error("administrator's name \"{0}\" must have 1 to 64 letters, digits, or -_.@")]
    AdminName(String),
    /// The time would be over at once, or longer than anybody remembers.
    #[error("a certificate is valid for 1 to {MOST_DAYS} days, not {0}")]
    Days(u64),
    /// The authority's certificate or key is damaged.
    #[error("the certificate was not made")]
    Certificate(#[from] rcgen::Error),
}

/// Why a certificate was not renewed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RenewError {
    /// It is no certificate, or names no caller of a deployment.
    #[error("it is no certificate of a service or an administrator")]
    Nobody,
    /// The next one can not be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
}

impl Authority {
    /// Makes an authority that is valid from `today` for ten years.
    ///
    /// # Errors
    ///
    /// When the cryptography refuses.
    pub fn generate(today: NaiveDate) -> Result<Self, IssueError> {
        let key = KeyPair::generate()?;
        let mut params = certificate_params("Bowline authority", today, AUTHORITY_DAYS);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self {
            certificate,
            key: Zeroizing::new(key.serialize_pem()),
            days: USUAL_DAYS,
        })
    }

    /// Returns the authority issuing for so many days, through the last of them.
    ///
    /// # Errors
    ///
    /// [`IssueError::Days`].
    pub fn for_days(self, days: u64) -> Result<Self, IssueError> {
        match days {
            1..=MOST_DAYS => Ok(Self { days, ..self }),
            _ => Err(IssueError::Days(days)),
        }
    }

    /// Reads `ca.pem` and `ca.key` from a directory.
    ///
    /// # Errors
    ///
    /// Names the file that can not be read.
    pub fn load(directory: &Path) -> Result<Self, FileError> {
        Ok(Self {
            certificate: read_text(&directory.join("ca.pem"))?,
            key: Zeroizing::new(read_text(&directory.join("ca.key"))?),
            days: USUAL_DAYS,
        })
    }

    /// Writes `ca.pem` and, for this account's eyes only, `ca.key` into a directory.
    ///
    /// # Errors
    ///
    /// Names the file that can not be written.
    pub fn save(&self, directory: &Path) -> Result<(), FileError> {
        write_text(&directory.join("ca.pem"), &self.certificate, 0o644)?;
        write_text(&directory.join("ca.key"), &self.key, 0o600)
    }

    /// Issues a service's certificate, valid from `today`.
    ///
    /// # Errors
    ///
    /// When the authority is damaged.
    pub fn issue_service(
        &self,
        service: ServiceName,
        today: NaiveDate,
    ) -> Result<Certificates, IssueError> {
        let mut params = certificate_params(service.as_str(), today, self.days);
        params
            .subject_alt_names
            .push(SanType::DnsName(service.host_name().try_into()?));
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ServerAuth);
        self.sign_certificate(params, &Caller::Service(service))
    }

    /// Issues an administrator's certificate, valid from `today`.
    ///
    /// # Errors
    ///
    /// [`IssueError::AdminName`] for a name that can not be used.
    pub fn issue_admin(&self, name: &str, today: NaiveDate) -> Result<Certificates, IssueError> {
        if !is_admin_name(name) {
            return Err(IssueError::AdminName(name.to_owned()));
        }
        self.sign_certificate(
            certificate_params(name, today, self.days),
            &Caller::Admin {
                name: name.to_owned(),
            },
        )
    }

    /// Issues another certificate for whom one was issued, with another key. Returns whose it is as well.
    ///
    /// # Errors
    ///
    /// [`RenewError`].
    pub fn renew_certificate(
        &self,
        certificate: &str,
        today: NaiveDate,
    ) -> Result<(Caller, Certificates), RenewError> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes());
        let der = der.map_err(|_| RenewError::Nobody)?;
        let caller = Caller::from_certificate(&der).ok_or(RenewError::Nobody)?;
        let issued = match &caller {
            Caller::Service(service) => self.issue_service(*service, today)?,
            Caller::Admin { name } => self.issue_admin(name, today)?,
            Caller::Token(_) => return Err(RenewError::Nobody),
        };
        Ok((caller, issued))
    }

    fn sign_certificate(
        &self,
        mut params: CertificateParams,
        caller: &Caller,
    ) -> Result<Certificates, IssueError> {
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key)?)?;
        params
            .subject_alt_names
            .push(SanType::URI(caller.uri().try_into()?));
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ClientAuth);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        Ok(Certificates::from_pem(
            self.certificate.clone(),
            params.signed_by(&key, &issuer)?.pem(),
            key.serialize_pem(),
        ))
    }
}

/// Returns the parameters that all certificates share: from a day early on, for clocks that are behind, to the end of
/// the last day.
fn certificate_params(name: &str, today: NaiveDate, days: u64) -> CertificateParams {
    let date = |date: NaiveDate| {
        // Months and days of a calendar date fit.
        let (month, day) = (u8::try_from(date.month()), u8::try_from(date.day()));
        date_time_ymd(date.year(), month.unwrap_or(1), day.unwrap_or(1))
    };
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date(today - Days::new(1));
    params.not_after = date(today + Days::new(days + 1));
    params
}

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Authority").finish_non_exhaustive()
    }
}
