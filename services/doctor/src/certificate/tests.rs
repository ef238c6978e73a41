use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;
use crate::FindingLevel;

/// Returns a certificate for names that is valid in 2026, and why it is not trusted.
fn shown(names: &[&str], mistrust: Option<CertificateError>) -> ShownChain {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2026, 12, 31);
    let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    ShownChain {
        certificates: vec![made.der().clone()],
        mistrust: mistrust.map(Error::InvalidCertificate),
    }
}

fn judged(shown: &ShownChain, day: &str) -> Judgement {
    let now = DateTime::parse_from_rfc3339(&format!("{day}T00:00:00Z")).unwrap();
    judge_chain(shown, "vpn.example.com", now.to_utc())
}

#[test]
fn end_that_is_near_is_warned_of() {
    let trusted = shown(&["vpn.example.com"], None);
    let level = |day| judged(&trusted, day).level;
    assert_eq!(level("2026-06-01"), FindingLevel::Ok);
    assert_eq!(level("2026-12-20"), FindingLevel::Warning);
    assert_eq!(level("2027-01-01"), FindingLevel::Failed);
    assert_eq!(
        judge_pinned(&trusted, DateTime::UNIX_EPOCH).level,
        FindingLevel::Ok
    );
}

#[test]
fn what_clients_do_not_take_is_said_with_what_to_mend() {
    let failed = |mistrust, part: &str| {
        let judged = judged(
            &shown(&["old.example.com", "192.0.2.1"], Some(mistrust)),
            "2026-06-01",
        );
        assert_eq!(judged.level, FindingLevel::Failed);
        assert!(judged.text.contains(part), "{}", judged.text);
    };
    let other = "is for old.example.com, 192.0.2.1, and not for vpn.example.com";
    failed(CertificateError::NotValidForName, other);
    failed(
        CertificateError::Expired,
        "the server's own at 2026-12-31T00:00:00Z",
    );
    failed(CertificateError::NotValidYet, "from 2026-01-01T00:00:00Z");
    failed(CertificateError::UnknownIssuer, "--ca");
    failed(CertificateError::Revoked, "do not take");
}

#[test]
fn proxy_that_speaks_http_2_alone_is_named() {
    let refused = Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    let judged = judge_failure(&io::Error::new(io::ErrorKind::InvalidData, refused));
    assert!(judged.text.contains("HTTP/2 alone"), "{}", judged.text);
}
