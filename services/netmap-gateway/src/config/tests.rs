use super::*;

fn settings(public_url: &str, certificate: Option<&str>, key: Option<&str>) -> GatewayConfig {
    GatewayConfig {
        public_url: public_url.to_owned(),
        certificate_file: certificate.map(PathBuf::from),
        key_file: key.map(PathBuf::from),
        ..GatewayConfig::default()
    }
}

fn unfit(problem: SettingsError) -> Result<(), UnfitSettings> {
    Err(UnfitSettings(vec![problem]))
}

#[test]
fn plain_http_is_served_only_where_the_url_says_so() {
    for url in ["http://x.example", "HTTP://x.example:80"] {
        assert_eq!(
            settings(url, None, None).certificate(),
            Ok(CertificateSource::None)
        );
    }
    for url in ["https://x.example", "https://[::1]:8443"] {
        let refused = settings(url, None, None).certificate().unwrap_err();
        let missing = SettingsError::NoCertificate(url.to_owned());
        assert_eq!(refused, UnfitSettings(vec![missing]));
        let pair = settings(url, Some("c"), Some("k"));
        let source = pair.certificate().unwrap();
        assert!(
            matches!(source, CertificateSource::Files { .. }),
            "{source:?}"
        );
    }
}

#[test]
fn proxy_in_front_may_speak_tls_instead() {
    let behind = |url: &str, certificate| GatewayConfig {
        tls: false,
        ..settings(url, certificate, certificate)
    };
    for url in ["https://x.example", "http://x.example"] {
        assert_eq!(behind(url, None).certificate(), Ok(CertificateSource::None));
    }
    let refused = behind("https://x.example", Some("c")).check();
    assert_eq!(refused, unfit(SettingsError::UnusedCertificate));
}

#[test]
fn all_that_does_not_fit_is_named() {
    let refused = GatewayConfig {
        tls: false,
        proxy_protocol: true,
        ..settings("https://x.example/base", Some("c"), None)
    };
    let text = refused.check().unwrap_err().to_string();
    let lines: Vec<_> = text.lines().collect();
    let expected = ["has a path", "trusted_proxies", "tls is false", "key_file"];
    assert_eq!(lines.len(), expected.len(), "{text}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn control_keys_come_from_one_place() {
    let mut config = settings("http://x.example", None, None);
    assert_eq!(config.check(), Ok(()));
    let directory = |name: &str| ControlKeySource::Directory(PathBuf::from(name));
    assert_eq!(config.control_key_source(), directory("control-keys"));
    config.control_keys = Some(PathBuf::from("keys"));
    assert_eq!(config.control_key_source(), directory("keys"));
    config.control_keys_command = Some("kms".to_owned());
    assert_eq!(config.check(), unfit(SettingsError::TwoKeySources));
    config.control_keys = None;
    let command = ControlKeySource::Command("kms".to_owned());
    assert_eq!(config.control_key_source(), command);
}

#[test]
fn public_url_is_a_host_and_nothing_behind_it() {
    for (url, part) in [
        ("https://x.example/base", "path"),
        ("https://x.example:8443/?a=b", "query"),
        ("https://x.example#top", "fragment"),
        ("https://me@x.example", "user name"),
    ] {
        let refused = settings(url, Some("c"), Some("k")).check().unwrap_err();
        let text = refused.to_string();
        assert!(
            text.contains(url) && text.contains(&format!("has a {part}:")),
            "{text}"
        );
    }
    for url in [
        "https://x.example",
        "https://x.example/",
        "http://[::1]:8080",
    ] {
        assert_eq!(settings(url, None, None).check(), Ok(()), "{url}");
    }
}

#[test]
fn proxy_headers_are_believed_of_listed_networks_only() {
    let read = serde_json::from_str::<GatewayConfig>;
    let config =
        read(r#"{"trusted_proxies": ["10.0.0.0/8", "192.0.2.1", "::1"], "proxy_protocol": true}"#)
            .unwrap();
    let networks: Vec<_> = config
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.1/32", "::1/128"]);
    let refused = read(r#"{"trusted_proxies": ["proxy.example"]}"#).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("\"proxy.example\" is no network"),
        "{refused}"
    );
    let nobody = GatewayConfig {
        proxy_protocol: true,
        ..settings("http://x.example", None, None)
    };
    assert_eq!(nobody.check(), unfit(SettingsError::NoProxies));
}

#[test]
fn half_a_pair_is_refused_by_name() {
    for url in ["https://x.example", "http://x.example"] {
        let refused = settings(url, Some("c"), None).certificate().unwrap_err();
        let text =
            "certificate_file is set and key_file is not: a certificate and its key go together";
        assert_eq!(refused.to_string(), text);
        let refused = settings(url, None, Some("k")).certificate().unwrap_err();
        assert!(
            refused.to_string().starts_with("key_file is set"),
            "{refused}"
        );
    }
}

#[test]
fn public_url_is_one_that_clients_can_use() {
    assert_eq!(
        settings("", None, None).check(),
        unfit(SettingsError::NoPublicUrl)
    );
    for url in [
        "x.example",
        "x.example:8443",
        "ftp://x.example",
        "https://",
        "/",
    ] {
        let refused = settings(url, None, None).check();
        assert_eq!(refused, unfit(SettingsError::PublicUrl(url.to_owned())));
    }
}

#[test]
fn short_verify_token_is_refused_and_none_is_ever_shown() {
    let with = |token: &str| GatewayConfig {
        verify_token: Some(Secret::new(token.to_owned())),
        ..settings("https://a.test", None, None)
    };
    assert_eq!(with("").check(), Ok(()));
    let refused = with("0123456789abcde").check().unwrap_err();
    assert!(refused.to_string().contains("openssl rand"), "{refused}");
    let enough = with("0123456789abcdef");
    assert_eq!(enough.check(), Ok(()));
    assert!(!format!("{enough:?}").contains("0123456789abcdef"));
}

#[test]
fn certificate_is_ordered_for_the_public_host_where_clients_are_shown_it() {
    let ordering = |url: &str, certificate| GatewayConfig {
        acme: AcmeConfig {
            agree_to_terms: true,
            ..AcmeConfig::default()
        },
        ..settings(url, certificate, certificate)
    };
    let config = ordering("https://vpn.example.com:8443", None);
    let Ok(CertificateSource::Acme(plan)) = config.certificate() else {
        panic!("{:?}", config.certificate());
    };
    assert_eq!(plan.hosts(), ["vpn.example.com"]);

    let refused = ordering("https://192.0.2.1:8443", None).check();
    let problem = AcmeSettingsError::Address("192.0.2.1".to_owned());
    assert_eq!(refused, unfit(SettingsError::Acme(problem)));
    for (config, word) in [
        (ordering("http://vpn.example.com", None), "http://"),
        (
            ordering("https://vpn.example.com", Some("c")),
            "certificate_file is",
        ),
        (
            GatewayConfig {
                tls: false,
                ..ordering("https://vpn.example.com", None)
            },
            "tls is false",
        ),
    ] {
        let text = config.check().unwrap_err().to_string();
        assert!(text.contains(word), "{text}");
    }
}
