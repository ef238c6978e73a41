use super::*;

fn connection() -> Connection {
    Connection {
        name: "Example Corp".to_owned(),
        domains: vec!["@Example.COM".to_owned(), "example.com".to_owned()],
        provider: Some(Provider::Oidc(OidcProvider {
            issuer: "https://login.example.com/realms/a".to_owned(),
            client_id: "bowline".to_owned(),
            scopes: vec!["profile".to_owned(), "openid".to_owned()],
            ..OidcProvider::default()
        })),
        ..Connection::default()
    }
}

fn with_issuer(issuer: &str) -> Connection {
    let mut connection = connection();
    if let Some(Provider::Oidc(oidc)) = &mut connection.provider {
        oidc.issuer = issuer.to_owned();
    }
    connection
}

#[test]
fn lists_have_one_form() {
    let mut made = connection();
    normalize_connection(&mut made).unwrap();
    assert_eq!(made.domains, ["example.com"]);
    let Some(Provider::Oidc(oidc)) = made.provider else {
        panic!("it has a provider")
    };
    assert_eq!(oidc.scopes, ["profile"]);
}

#[test]
fn issuers_are_https_or_of_this_machine() {
    for issuer in [
        "https://a.example",
        "http://127.0.0.1:8080/realms/x",
        "http://localhost",
        "http://[::1]:1",
    ] {
        normalize_connection(&mut with_issuer(issuer)).unwrap();
    }
    for issuer in [
        "",
        "a",
        "ftp://a",
        "http://a.example",
        "http://10.0.0.1",
        "https://a?b",
        "https://a#b",
        "https://u@a",
    ] {
        let refused = normalize_connection(&mut with_issuer(issuer)).unwrap_err();
        assert!(
            refused.to_string().starts_with("issuer: "),
            "{issuer}: {refused}"
        );
    }
}

#[test]
fn issuer_stays_and_the_secret_is_changed_when_named() {
    let mut made = connection();
    normalize_connection(&mut made).unwrap();
    let other = with_issuer("https://other.example");
    let refused = update_fields(&mut made.clone(), &other, &["oidc".to_owned()]).unwrap_err();
    assert!(
        refused.to_string().contains("Make a new connection"),
        "{refused}"
    );
    let mask = ["name".to_owned(), "client_secret".to_owned()];
    assert!(
        update_fields(&mut made, &other, &mask)
            .unwrap()
            .client_secret
    );
    let scope = update_fields(&mut made, &other, &["name".to_owned()]).unwrap();
    assert_eq!(scope, UpdateScope::default());
    assert!(update_fields(&mut made, &other, &["id".to_owned()]).is_err());
}

#[test]
fn what_is_missing_too_long_or_no_domain_is_refused() {
    let mut unnamed = connection();
    unnamed.name = " ".to_owned();
    let mut without = connection();
    without.provider = None;
    let mut many = connection();
    many.domains = (0..201).map(|number| format!("{number}.example")).collect();
    let mut odd = connection();
    odd.domains = vec!["example".to_owned()];
    for mut wrong in [unnamed, without, many, odd] {
        assert!(normalize_connection(&mut wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn who_a_person_is_at_a_saml_provider_stays() {
    let saml = SamlProvider {
        metadata_url: "https://idp.example/metadata?format=2".to_owned(),
        identity_attribute: "employeeNumber".to_owned(),
        ..SamlProvider::default()
    };
    let with = |saml: &SamlProvider| Connection {
        provider: Some(Provider::Saml(saml.clone())),
        ..connection()
    };
    let mut made = with(&SamlProvider {
        entity_id: "https://idp.example".to_owned(),
        ..saml.clone()
    });
    let mask = ["saml".to_owned()];
    let other_identity = with(&SamlProvider {
        identity_attribute: "uid".to_owned(),
        ..saml.clone()
    });
    assert!(update_fields(&mut made.clone(), &other_identity, &mask).is_err());
    let other_mail = with(&SamlProvider {
        entity_id: "https://evil.example".to_owned(),
        mail_attribute: "work-mail".to_owned(),
        ..saml
    });
    update_fields(&mut made, &other_mail, &mask).unwrap();
    let Some(Provider::Saml(saml)) = &made.provider else {
        panic!("{made:?}");
    };
    assert_eq!(saml.mail_attribute, "work-mail");
    assert_eq!(saml.entity_id, "https://idp.example");
    let secret = ["client_secret".to_owned()];
    assert!(update_fields(&mut made, &connection(), &secret).is_err());
    assert!(
        update_fields(
            &mut connection(),
            &connection(),
            &["saml_metadata".to_owned()]
        )
        .is_err()
    );
}
