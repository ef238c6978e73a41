//! Whether clients take a certificate.

use std::{io, net::IpAddr};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use rustls::{AlertDescription, CertificateError, Error};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

use crate::{finding::Judgement, secure::ShownChain};

/// When an end is near.
const NEAR: TimeDelta = TimeDelta::days(14);

/// What a certificate says of itself.
struct ShownCertificate {
    begin: Option<DateTime<Utc>>,
    end: Option<DateTime<Utc>>,
    names: Vec<String>,
    issuer: String,
}

impl ShownCertificate {
    fn read(der: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let names = parsed.subject_alternative_name().ok().flatten();
        let names = names
            .iter()
            .flat_map(|names| &names.value.general_names)
            .filter_map(name_text);
        let validity = parsed.validity();
        Some(Self {
            begin: DateTime::from_timestamp(validity.not_before.timestamp(), 0),
            end: DateTime::from_timestamp(validity.not_after.timestamp(), 0),
            names: names.collect(),
            issuer: parsed.issuer().to_string(),
        })
    }

    fn end_text(&self) -> String {
        time_text(self.end)
    }
}

fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
            v4.or(v6).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

fn time_text(time: Option<DateTime<Utc>>) -> String {
    let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    time.map_or_else(|| "an unknown time".to_owned(), text)
}

/// Says whether clients take what a server has shown for a host name.
pub(crate) fn judge_chain(shown: &ShownChain, host: &str, now: DateTime<Utc>) -> Judgement {
    let own = shown.certificates.first();
    let Some(facts) = own.and_then(|own| ShownCertificate::read(own)) else {
        return Judgement::failed("the certificate can not be read: give the server another");
    };
    match &shown.mistrust {
        None => judge_end(&facts, now),
        Some(error) => Judgement::failed(describe_mistrust(error, &facts, host)),
    }
}

/// Says whether a certificate that is known by its hash has a time left.
pub(crate) fn judge_pinned(shown: &ShownChain, now: DateTime<Utc>) -> Judgement {
    let own = shown.certificates.first();
    match own.and_then(|own| ShownCertificate::read(own)) {
        Some(facts) => judge_end(&facts, now),
        None => Judgement::failed("the certificate can not be read: give the relay another"),
    }
}

fn judge_end(facts: &ShownCertificate, now: DateTime<Utc>) -> Judgement {
    let until = facts.end_text();
    match facts.end {
        Some(end) if end <= now => Judgement::failed(format!(
            "the certificate ended at {until}: renew it, and look why that did not happen by itself"
        )),
        Some(end) if end - now < NEAR => Judgement::warning(format!(
            "the certificate ends at {until}: renew it, and look why that did not happen by itself"
        )),
        _ => Judgement::ok(format!("valid until {until}")),
    }
}

fn describe_mistrust(error: &Error, facts: &ShownCertificate, host: &str) -> String {
    let Error::InvalidCertificate(problem) = error else {
        return format!("the certificate can not be verified: {error}");
    };
    match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
            "a certificate of the chain has ended, the server's own at {}: renew it, and look why that did not happen by itself",
            facts.end_text()
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
            "the certificate is valid from {} on only: is the clock of this machine right?",
            time_text(facts.begin)
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "the certificate is for {}, and not for {host}: get one for {host}, or let clients use the name that it has",
                facts.names.join(", ")
            )
        }
        CertificateError::UnknownIssuer => format!(
            "this machine does not trust who issued the certificate ({}). An authority of the server's own is named with --ca (and to \
             clients with SSL_CERT_FILE); with one that others trust the server has to show the whole chain, not its own certificate alone",
            facts.issuer
        ),
        other => format!("clients do not take the certificate: {other:?}"),
    }
}

/// Says why TLS can not be spoken at all.
pub(crate) fn judge_failure(error: &io::Error) -> Judgement {
    let cause = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    Judgement::failed(match cause {
        Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            "what answers speaks HTTP/2 alone: clients upgrade an HTTP/1.1 connection, so let the proxy offer http/1.1, too".to_owned()
        }
        Some(Error::InvalidMessage(_)) => {
            "what answers does not speak TLS: is the port right, and does TLS end here (`tls`, certificate_file) or at the proxy?".to_owned()
        }
        _ => format!("TLS can not be spoken ({error}): look at the log of the proxy, or of the gateway"),
    })
}

#[cfg(test)]
mod tests;
