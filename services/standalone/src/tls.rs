//! Certificates a first start makes: an authority of its own for the clients' listener, and one pinned certificate
//! for the relay.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use sha2::{Digest as _, Sha256};

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

/// Returns the certificate for `host`, made when it is not there.
pub fn listener(directory: &Path, host: &str) -> Result<ListenerFiles> {
    fs::create_dir_all(directory).with_context(|| format!("{}", directory.display()))?;
    let files = ListenerFiles {
        authority: directory.join("ca.pem"),
        certificate: directory.join(format!("{host}.pem").replace(':', "_")),
        key: directory.join(format!("{host}.key").replace(':', "_")),
    };
    let authority_key = directory.join("ca.key");
    if !files.authority.is_file() || !authority_key.is_file() {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params
            .distinguished_name
            .push(DnType::CommonName, "Bowline, made by this installation");
        let authority = params.self_signed(&key)?;
        private(&authority_key, &key.serialize_pem())?;
        fs::write(&files.authority, authority.pem())?;
    }
    if !files.certificate.is_file() || !files.key.is_file() {
        let authority_key = KeyPair::from_pem(&fs::read_to_string(&authority_key)?)?;
        let issuer =
            Issuer::from_ca_cert_pem(&fs::read_to_string(&files.authority)?, authority_key)?;
        let key = KeyPair::generate()?;
        let mut names = vec![host.to_owned()];
        names.extend(
            ["localhost", "127.0.0.1"]
                .map(str::to_owned)
                .into_iter()
                .filter(|n| n != host),
        );
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, host);
        let certificate = params.signed_by(&key, &issuer)?;
        private(&files.key, &key.serialize_pem())?;
        fs::write(&files.certificate, certificate.pem())?;
    }
    Ok(files)
}

/// The relay's certificate: clients check its hash, which the DERP map names (protocol section 8.9).
#[derive(Debug)]
pub struct Pinned {
    /// What the relay speaks TLS with.
    pub config: Arc<ServerConfig>,
    /// The hash of the certificate, in hexadecimal digits.
    pub hash: String,
}

/// Returns the relay's certificate for `host`, made when it is not there.
pub fn relay(directory: &Path, host: &str) -> Result<Pinned> {
    fs::create_dir_all(directory).with_context(|| format!("{}", directory.display()))?;
    let certificate_file = directory.join("relay.pem");
    let key_file = directory.join("relay.key");
    if !certificate_file.is_file() || !key_file.is_file() {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, host);
        let certificate = params.self_signed(&key)?;
        private(&key_file, &key.serialize_pem())?;
        fs::write(&certificate_file, certificate.pem())?;
    }
    let certificate = CertificateDer::from_pem_file(&certificate_file)?;
    let key = PrivateKeyDer::from_pem_file(&key_file)?;
    let hash = hex::encode(Sha256::digest(&certificate));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    Ok(Pinned {
        config: Arc::new(config),
        hash,
    })
}

/// Writes a file only its owner can read.
fn private(path: &Path, text: &str) -> Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
