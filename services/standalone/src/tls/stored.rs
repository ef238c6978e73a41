//! What a certificate that was made before says: until when it is valid, and for which names an authority may issue.

use std::{fs, net::IpAddr, path::Path};

use anyhow::{Context as _, Result, anyhow};
use chrono::{DateTime, NaiveDate};
use x509_parser::{
    extensions::{GeneralName, GeneralSubtree},
    pem::parse_x509_pem,
};

use super::names::CertificateNames;

/// A certificate as its file has it.
#[derive(Clone, Debug)]
pub(super) struct StoredCertificate {
    /// The last whole day it is valid on.
    pub(super) last_day: NaiveDate,
    /// The names an authority is confined to; `None` when it may issue for any.
    pub(super) permitted: Option<CertificateNames>,
}

impl StoredCertificate {
    /// Reads a certificate; `None` when there is no file.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        Self::parse(&text)
            .map(Some)
            .with_context(|| format!("the certificate {} can not be read", path.display()))
    }

    fn parse(text: &[u8]) -> Result<Self> {
        let (_, pem) = parse_x509_pem(text).map_err(|_| anyhow!("it is no PEM"))?;
        let certificate = pem.parse_x509().map_err(|_| anyhow!("it is no X.509"))?;
        let end = certificate.validity().not_after.timestamp();
        let end = DateTime::from_timestamp(end, 0).context("its end is no time")?;
        let constraints = certificate.name_constraints()?;
        let permitted = constraints.and_then(|found| found.value.permitted_subtrees.as_deref());
        Ok(Self {
            last_day: end.date_naive().pred_opt().context("its end is no time")?,
            permitted: permitted.map(names_of),
        })
    }

    /// Says whether less than a third of the usual time is left.
    pub(super) fn is_near_its_end(&self, today: NaiveDate, usual_days: u64) -> bool {
        let left = (self.last_day - today).num_days();
        left < (usual_days / 3).cast_signed()
    }

    /// Says whether the authority may issue for these names.
    pub(super) fn permits_names(&self, names: &CertificateNames) -> bool {
        self.permitted
            .as_ref()
            .is_none_or(|permitted| permitted.contains_all(names))
    }
}

fn names_of(subtrees: &[GeneralSubtree<'_>]) -> CertificateNames {
    let mut names = CertificateNames::default();
    for subtree in subtrees {
        match &subtree.base {
            GeneralName::DNSName(name) => {
                names.hosts.insert((*name).to_ascii_lowercase());
            }
            // An address and its mask, which is one of all bits in what is made here.
            GeneralName::IPAddress(bytes) => names.addresses.extend(parse_address(bytes)),
            _ => {}
        }
    }
    names
}

fn parse_address(bytes: &[u8]) -> Option<IpAddr> {
    let (address, mask) = bytes.split_at(bytes.len() / 2);
    if mask.iter().any(|byte| *byte != u8::MAX) {
        return None;
    }
    let v4 = <[u8; 4]>::try_from(address).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(address).map(IpAddr::from))
        .ok()
}
