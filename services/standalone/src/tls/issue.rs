//! Making certificates: days and keys are parameters.

use anyhow::Result;
use chrono::{Datelike as _, Days, NaiveDate};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, date_time_ymd,
};

use super::names::CertificateNames;

/// The days on which a certificate is valid.
#[derive(Clone, Copy)]
pub(super) struct ValidDays {
    /// The first; it is valid a day earlier, too, for clocks that are behind.
    pub(super) today: NaiveDate,
    /// The last.
    pub(super) last: NaiveDate,
}

impl ValidDays {
    /// Returns so many days from today.
    pub(super) fn from_today(today: NaiveDate, days: u64) -> Self {
        let last = last_day(today, days);
        Self { today, last }
    }
}

/// An authority that issues, as PEM, and its key.
pub(super) struct IssuingAuthority {
    /// Its certificate.
    pub(super) certificate: String,
    /// Its key.
    pub(super) key: KeyPair,
}

/// Returns the last day of what is valid for so many days from today.
pub(super) fn last_day(today: NaiveDate, days: u64) -> NaiveDate {
    today + Days::new(days)
}

/// Returns an authority that can issue for these names and no others.
pub(super) fn issue_authority(
    names: &CertificateNames,
    valid: ValidDays,
    key: &KeyPair,
) -> Result<String> {
    let name = "Bowline, made by this installation";
    let mut params = certificate_params(name, Vec::new(), valid)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let hosts = names.hosts.iter().cloned().map(GeneralSubtree::DnsName);
    let addresses = names.addresses.iter().map(|address| {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(*address, bits))
    });
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: hosts.chain(addresses).collect(),
        excluded_subtrees: Vec::new(),
    });
    Ok(params.self_signed(key)?.pem())
}

/// Returns a certificate of the listener, issued by the authority with this text and key.
pub(super) fn issue_listener(
    host: &str,
    names: &CertificateNames,
    valid: ValidDays,
    authority: IssuingAuthority,
    key: &KeyPair,
) -> Result<String> {
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, authority.key)?;
    let hosts = names.hosts.iter().cloned();
    let addresses = names.addresses.iter().map(ToString::to_string);
    let mut params = certificate_params(host, hosts.chain(addresses).collect(), valid)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params.signed_by(key, &issuer)?.pem())
}

/// Returns the relay's certificate, which is trusted for its hash and signed by its own key.
pub(super) fn issue_relay(host: &str, valid: ValidDays, key: &KeyPair) -> Result<String> {
    let mut params = certificate_params(host, vec![host.to_owned()], valid)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params.self_signed(key)?.pem())
}

/// Returns what all certificates share: valid to the end of the last day, and from a day early on, for clocks that
/// are behind.
fn certificate_params(
    name: &str,
    names: Vec<String>,
    valid: ValidDays,
) -> Result<CertificateParams> {
    let ValidDays { today, last } = valid;
    let date = |date: NaiveDate| {
        // Months and days of a calendar date fit.
        let (month, day) = (u8::try_from(date.month()), u8::try_from(date.day()));
        date_time_ymd(date.year(), month.unwrap_or(1), day.unwrap_or(1))
    };
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date(today - Days::new(1));
    params.not_after = date(last + Days::new(1));
    Ok(params)
}
