//! Certificates a start makes and keeps: an authority of its own for the clients' listener, and one pinned certificate
//! for the relay.
//!
//! What is there stays until it is near its end: clients trust the authority and were told of the relay. A new
//! certificate of either keeps the key of the old one.

mod issue;
mod names;
mod stored;

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use bowline_service_kit::{CertificateViewer, note_certificate};
use chrono::NaiveDate;
use rcgen::KeyPair;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use sha2::{Digest as _, Sha256};

use issue::{IssuingAuthority, ValidDays};
use names::CertificateNames;
use stored::StoredCertificate;

/// How long an authority is valid, in days: all clients have to be given the next one.
const AUTHORITY_DAYS: u64 = 10 * 365;
/// How long a certificate of the listener is valid, in days: some systems take none of more than 825.
const LISTENER_DAYS: u64 = 800;
/// How long the relay's certificate is valid, in days.
const RELAY_DAYS: u64 = 5 * 365;

/// Files of a certificate for the clients' listener.
#[derive(Clone, Debug)]
pub struct ListenerFiles {
    /// What clients have to trust.
    pub authority: PathBuf,
    /// The chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Returns the certificate for `host`, made when it is not there or near its end.
///
/// # Errors
///
/// Names the file that can not be read or written.
pub fn keep_listener_certificate(
    directory: &Path,
    host: &str,
    today: NaiveDate,
) -> Result<ListenerFiles> {
    fs::create_dir_all(directory).with_context(|| format!("{}", directory.display()))?;
    let stem = file_stem(host);
    let files = ListenerFiles {
        authority: directory.join("ca.pem"),
        certificate: directory.join(format!("{stem}.pem")),
        key: directory.join(format!("{stem}.key")),
    };
    let names = CertificateNames::of_host(host);
    let authority_key = directory.join("ca.key");
    let authority = keep_authority(&files.authority, &authority_key, &names, today)?;
    let is_good = match StoredCertificate::read(&files.certificate)? {
        Some(made) => files.key.is_file() && !made.is_near_its_end(today, LISTENER_DAYS),
        None => false,
    };
    if !is_good {
        let key = load_or_make_key(&files.key)?;
        let end = authority
            .last_day
            .min(issue::last_day(today, LISTENER_DAYS));
        let issuer = IssuingAuthority {
            certificate: fs::read_to_string(&files.authority)?,
            key: load_or_make_key(&authority_key)?,
        };
        let valid = ValidDays { today, last: end };
        let certificate = issue::issue_listener(host, &names, valid, issuer, &key)?;
        write_whole(&files.certificate, &certificate)?;
    }
    Ok(files)
}

/// Returns the authority, made when it is not there, and made again with the same key when it is near its end or not
/// for these names.
fn keep_authority(
    certificate: &Path,
    key: &Path,
    names: &CertificateNames,
    today: NaiveDate,
) -> Result<StoredCertificate> {
    let made = StoredCertificate::read(certificate)?.filter(|_| key.is_file());
    let names = match &made {
        Some(made) if made.permits_names(names) && !made.is_near_its_end(today, AUTHORITY_DAYS) => {
            return Ok(made.clone());
        }
        Some(made) => {
            let file = certificate.display();
            tracing::warn!(
                "{file} was made anew: give it to the clients in place of the one they trust"
            );
            names.merged_with(made.permitted.as_ref())
        }
        None => names.clone(),
    };
    let key = load_or_make_key(key)?;
    let valid = ValidDays::from_today(today, AUTHORITY_DAYS);
    let text = issue::issue_authority(&names, valid, &key)?;
    write_whole(certificate, &text)?;
    StoredCertificate::read(certificate)?.context("the authority was not written")
}

/// Returns what a host's files are called: its name, unless the authority or the relay is called so. No host has an
/// `@` in its name.
fn file_stem(host: &str) -> String {
    let stem = host.replace(':', "_");
    match &*stem {
        "ca" | "relay" => format!("@{stem}"),
        _ => stem,
    }
}

/// The relay's certificate: clients check its hash, which the DERP map names (protocol section 8.9).
#[derive(Debug)]
pub struct PinnedCertificate {
    /// What the relay speaks TLS with.
    pub config: Arc<ServerConfig>,
    /// The hash of the certificate, in hexadecimal digits.
    pub hash: String,
}

/// Returns the relay's certificate for `host`, made when it is not there or near its end.
pub fn keep_relay_certificate(
    directory: &Path,
    host: &str,
    today: NaiveDate,
) -> Result<PinnedCertificate> {
    fs::create_dir_all(directory).with_context(|| format!("{}", directory.display()))?;
    let certificate_file = directory.join("relay.pem");
    let key_file = directory.join("relay.key");
    let is_good = match StoredCertificate::read(&certificate_file)? {
        Some(made) => key_file.is_file() && !made.is_near_its_end(today, RELAY_DAYS),
        None => false,
    };
    if !is_good {
        let key = load_or_make_key(&key_file)?;
        write_whole(
            &certificate_file,
            &issue::issue_relay(host, ValidDays::from_today(today, RELAY_DAYS), &key)?,
        )?;
    }
    let certificate = CertificateDer::from_pem_file(&certificate_file)?;
    let key = PrivateKeyDer::from_pem_file(&key_file)?;
    note_certificate(CertificateViewer::RelayClients, &certificate);
    let hash = hex::encode(Sha256::digest(&certificate));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(PinnedCertificate {
        config: Arc::new(config),
        hash,
    })
}

/// Returns the key in a file that only its owner can read, made when it is not there.
fn load_or_make_key(path: &Path) -> Result<KeyPair> {
    if path.is_file() {
        let text = fs::read_to_string(path)?;
        return KeyPair::from_pem(&text).with_context(|| format!("the key {}", path.display()));
    }
    let key = KeyPair::generate()?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("the key {} can not be written", path.display()))?;
    file.write_all(key.serialize_pem().as_bytes())?;
    Ok(key)
}

/// Writes a file in one step: whoever reads it finds the old text or the new one.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    let hidden = path.with_extension("pem.new");
    fs::write(&hidden, text)
        .and_then(|()| fs::rename(&hidden, path))
        .with_context(|| format!("the certificate {} can not be written", path.display()))
}

#[cfg(test)]
mod tests;
