//! What is made, what stays, and who accepts it.

use chrono::Days;
use rustls::{
    RootCertStore,
    client::WebPkiServerVerifier,
    pki_types::{ServerName, UnixTime},
};
use tempfile::TempDir;

use super::*;

fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 11, 26).unwrap()
}

/// Checks the listener's certificate as a client does that trusts this authority.
fn is_trusted(files: &ListenerFiles, authority: &[u8], name: &str, day: NaiveDate) -> bool {
    bowline_service_kit::install_crypto_provider();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority).unwrap())
        .unwrap();
    let verifier = WebPkiServerVerifier::builder(Arc::new(roots))
        .build()
        .unwrap();
    let certificate = CertificateDer::from_pem_file(&files.certificate).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let seconds = day.and_hms_opt(12, 0, 0).unwrap().and_utc().timestamp();
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds.cast_unsigned()));
    use rustls::client::danger::ServerCertVerifier as _;
    verifier
        .verify_server_cert(&certificate, &[], &name, &[], time)
        .is_ok()
}

fn text(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

#[test]
fn authority_is_for_the_host_alone_and_for_a_few_years() {
    for (host, other) in [
        ("bowline.example.com", "other.example.com"),
        ("192.0.2.7", "192.0.2.8"),
        ("2001:db8::7", "2001:db8::8"),
        ("ca", "relay"),
        ("relay", "ca"),
    ] {
        let directory = TempDir::new().unwrap();
        let place = directory.path();
        let files = keep_listener_certificate(place, host, today()).unwrap();
        keep_relay_certificate(place, host, today()).unwrap();
        let authority = text(&files.authority);
        for name in [host, "localhost", "127.0.0.1"] {
            assert!(
                is_trusted(&files, &authority, name, today()),
                "{host} {name}"
            );
        }
        let last = issue::last_day(today(), LISTENER_DAYS);
        assert!(is_trusted(&files, &authority, host, last));
        assert!(!is_trusted(&files, &authority, host, last + Days::new(1)));

        // Whoever has stolen the authority's key has gained nothing beyond this server.
        let key = KeyPair::generate().unwrap();
        let issuer = IssuingAuthority {
            certificate: String::from_utf8(authority.clone()).unwrap(),
            key: load_or_make_key(&place.join("ca.key")).unwrap(),
        };
        let valid = ValidDays {
            today: today(),
            last,
        };
        let names = CertificateNames::of_host(other);
        let forged = issue::issue_listener(other, &names, valid, issuer, &key).unwrap();
        let forged_files = ListenerFiles {
            certificate: place.join("forged.pem"),
            ..files.clone()
        };
        fs::write(&forged_files.certificate, forged).unwrap();
        assert!(
            !is_trusted(&forged_files, &authority, other, today()),
            "{other}"
        );
        assert!(!is_trusted(&forged_files, &authority, "localhost", today()));
    }
}

#[test]
fn what_is_there_stays_until_it_is_near_its_end_and_clients_go_on_trusting_it() {
    let directory = TempDir::new().unwrap();
    let place = directory.path();
    let host = "bowline.example.com";
    let files = keep_listener_certificate(place, host, today()).unwrap();
    let pinned = keep_relay_certificate(place, host, today()).unwrap().hash;
    let (authority, first) = (text(&files.authority), text(&files.certificate));

    let later = today() + Days::new(LISTENER_DAYS / 2);
    keep_listener_certificate(place, host, later).unwrap();
    assert_eq!(
        (text(&files.authority), text(&files.certificate)),
        (authority.clone(), first.clone())
    );
    assert_eq!(
        keep_relay_certificate(place, host, later).unwrap().hash,
        pinned
    );

    let later = today() + Days::new(LISTENER_DAYS - 10);
    keep_listener_certificate(place, host, later).unwrap();
    assert_eq!(text(&files.authority), authority);
    assert_ne!(text(&files.certificate), first);
    assert!(is_trusted(&files, &authority, host, later));

    let later = today() + Days::new(RELAY_DAYS - 10);
    assert_ne!(
        keep_relay_certificate(place, host, later).unwrap().hash,
        pinned
    );

    // The authority's next certificate has the same key: clients that hold either accept the listener's.
    let later = today() + Days::new(AUTHORITY_DAYS - 400);
    keep_listener_certificate(place, host, later).unwrap();
    assert_ne!(text(&files.authority), authority);
    assert!(is_trusted(&files, &authority, host, later));
    assert!(is_trusted(&files, &text(&files.authority), host, later));
}

#[test]
fn another_host_widens_the_authority_and_the_first_stays_good() {
    let directory = TempDir::new().unwrap();
    let place = directory.path();
    let first = keep_listener_certificate(place, "a.example.com", today()).unwrap();
    let second = keep_listener_certificate(place, "192.0.2.7", today()).unwrap();
    let authority = text(&second.authority);
    assert!(is_trusted(&first, &authority, "a.example.com", today()));
    assert!(is_trusted(&second, &authority, "192.0.2.7", today()));
    let before = text(&second.authority);
    keep_listener_certificate(place, "a.example.com", today()).unwrap();
    assert_eq!(text(&second.authority), before);
}

#[test]
fn authority_without_limits_of_an_earlier_version_stays() {
    let directory = TempDir::new().unwrap();
    let place = directory.path();
    let key = load_or_make_key(&place.join("ca.key")).unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    let old = params.self_signed(&key).unwrap().pem();
    fs::write(place.join("ca.pem"), &old).unwrap();
    let files = keep_listener_certificate(place, "bowline.example.com", today()).unwrap();
    assert_eq!(text(&files.authority), old.as_bytes());
    assert!(is_trusted(
        &files,
        old.as_bytes(),
        "bowline.example.com",
        today()
    ));
}

#[test]
fn half_a_pair_and_a_damaged_file_are_told_by_name() {
    let directory = TempDir::new().unwrap();
    let place = directory.path();
    let files = keep_listener_certificate(place, "a.example.com", today()).unwrap();
    fs::remove_file(&files.key).unwrap();
    keep_listener_certificate(place, "a.example.com", today()).unwrap();
    assert!(is_trusted(
        &files,
        &text(&files.authority),
        "a.example.com",
        today()
    ));
    fs::write(&files.authority, "nonsense").unwrap();
    let refused = keep_listener_certificate(place, "a.example.com", today()).unwrap_err();
    assert!(format!("{refused:#}").contains("ca.pem"), "{refused:#}");
}
