//! When the certificates of this process end: for its metrics, and for what it says of itself to other services.

use std::{fmt, sync::atomic::AtomicI64, sync::atomic::Ordering};

use x509_parser::prelude::{FromDer, X509Certificate};

/// Whom a process shows a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateViewer {
    /// Other services.
    Services,
    /// Clients, and people with browsers.
    Clients,
    /// Clients of a relay.
    RelayClients,
}

impl CertificateViewer {
    const fn label(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Clients => "clients",
            Self::RelayClients => "relay",
        }
    }
}

/// When the certificates of a process end, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CertificateEnds {
    /// That which other services are shown.
    pub services: Option<i64>,
    /// That which clients are shown.
    pub clients: Option<i64>,
}

/// The ends of this process's own certificates; zero where it has none.
static SERVICES: AtomicI64 = AtomicI64::new(0);
static CLIENTS: AtomicI64 = AtomicI64::new(0);

/// Notes that this process shows a certificate of a file from here on.
pub fn note_certificate(viewer: CertificateViewer, certificate: &[u8]) {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
        return;
    };
    let end = parsed.validity().not_after.timestamp();
    match viewer {
        CertificateViewer::Services => SERVICES.store(end, Ordering::Relaxed),
        CertificateViewer::Clients => CLIENTS.store(end, Ordering::Relaxed),
        CertificateViewer::RelayClients => {}
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds of this age are exact in a float"
    )]
    let seconds = end as f64;
    metrics::gauge!("bowline_certificate_expiry_timestamp_seconds", "shown_to" => viewer.label())
        .set(seconds);
}

/// Notes when the certificate ends that an authority gave by ACME and clients are shown, in seconds since 1970; zero without
/// one. It has metrics of its own.
pub fn note_ordered_certificate(end: i64) {
    CLIENTS.store(end, Ordering::Relaxed);
}

impl CertificateEnds {
    /// Returns those of this process.
    pub(crate) fn own() -> Self {
        let known = |end: &AtomicI64| Some(end.load(Ordering::Relaxed)).filter(|end| *end != 0);
        Self {
            services: known(&SERVICES),
            clients: known(&CLIENTS),
        }
    }

    /// Reads what a process says; other words are those of a newer release.
    pub(crate) fn parse<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let mut ends = Self::default();
        for (name, value) in words.filter_map(|word| word.split_once('=')) {
            let value = value.parse().ok();
            match name {
                "services" => ends.services = value,
                "clients" => ends.clients = value,
                _ => {}
            }
        }
        ends
    }
}

impl fmt::Display for CertificateEnds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, end) in [("services", self.services), ("clients", self.clients)] {
            if let Some(end) = end {
                write!(formatter, " {name}={end}")?;
            }
        }
        Ok(())
    }
}
