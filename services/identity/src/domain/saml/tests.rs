use super::*;
use bowline_saml::NameId;

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn assertion(format: Option<&str>, attributes: &[(&str, &[&str])]) -> VerifiedAssertion {
    let owned = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    let attributes = attributes.iter();
    VerifiedAssertion {
        id: "_1".to_owned(),
        replay_until: time("2026-11-27T12:00:00Z"),
        name_id: Some(NameId {
            value: "7d1f".to_owned(),
            format: format.map(str::to_owned),
        }),
        session_index: None,
        attributes: attributes
            .map(|(name, values)| ((*name).to_owned(), owned(values)))
            .collect(),
        authn_context: None,
        authn_instant: time("2026-11-27T11:00:00Z"),
        session_end: None,
    }
}

fn provider() -> SamlProvider {
    SamlProvider {
        entity_id: "https://idp.example/saml".to_owned(),
        groups_attribute: "groups".to_owned(),
        ..SamlProvider::default()
    }
}

#[test]
fn person_is_the_persistent_name_and_never_the_mail_address() {
    let attributes: [(&str, &[&str]); 3] = [
        ("mail", &["kim@corp.example"]),
        ("groups", &["dev", "ops"]),
        ("displayName", &["Kim \"K\" Example"]),
    ];
    let person = read_person(
        &provider(),
        &assertion(Some(NAME_ID_PERSISTENT), &attributes),
    );
    let person = person.unwrap();
    assert_eq!(person.subject, "7d1f");
    assert_eq!(person.mail.as_deref(), Some("kim@corp.example"));
    assert_eq!(person.groups.unwrap(), ["dev", "ops"]);
    assert_eq!(person.display_name, "Kim K Example");
    let nobody = assertion(Some(NAME_ID_PERSISTENT), &attributes[..1]);
    let nobody = read_person(&provider(), &nobody).unwrap();
    assert_eq!(nobody.groups, Some(Vec::new()), "in no group at all");
    for format in [Some(NAME_ID_EMAIL), Some(NAME_ID_TRANSIENT), None] {
        let refused = read_person(&provider(), &assertion(format, &attributes)).unwrap_err();
        assert!(refused.to_string().contains("persistent"), "{refused}");
    }
    let mut by_mail = SamlProvider {
        identity_attribute: "mail".to_owned(),
        ..provider()
    };
    assert!(normalize_saml(&mut by_mail).is_err());
}

#[test]
fn named_attribute_is_the_person_whatever_the_name_is() {
    let saml = SamlProvider {
        identity_attribute: "employeeNumber".to_owned(),
        mail_attribute: "work-mail".to_owned(),
        ..provider()
    };
    let attributes: [(&str, &[&str]); 2] =
        [("employeeNumber", &["4711"]), ("mail", &["k@x.example"])];
    let person = read_person(&saml, &assertion(Some(NAME_ID_EMAIL), &attributes)).unwrap();
    assert_eq!((&*person.subject, &*person.username), ("4711", "4711"));
    assert_eq!(person.mail, None, "another attribute has the address");
    let without = read_person(&saml, &assertion(Some(NAME_ID_PERSISTENT), &[])).unwrap_err();
    assert!(without.to_string().contains("employeeNumber"), "{without}");
}

#[test]
fn metadata_is_loaded_again_before_it_ends() {
    let now = time("2026-11-27T12:00:00Z");
    let mut metadata = ProviderMetadata {
        entity_id: String::new(),
        single_sign_on: Vec::new(),
        single_logout: Vec::new(),
        certificates: Vec::new(),
        valid_until: None,
        cache_duration: None,
        wants_signed_requests: false,
    };
    assert_eq!(next_reload(&metadata, now) - now, TimeDelta::days(1));
    metadata.valid_until = Some(now + TimeDelta::hours(4));
    assert_eq!(next_reload(&metadata, now) - now, TimeDelta::hours(2));
    metadata.cache_duration = Some(TimeDelta::seconds(1));
    assert_eq!(next_reload(&metadata, now) - now, TimeDelta::minutes(5));
    metadata.valid_until = Some(now - TimeDelta::hours(4));
    assert_eq!(next_reload(&metadata, now) - now, TimeDelta::minutes(5));
}
