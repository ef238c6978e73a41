//! Our own metadata, read back by the reader of metadata's means.

use chrono::NaiveDate;

use super::*;
use crate::{
    NAME_ID_PERSISTENT, SigningKey, SigningKeyKind,
    markup::{Comments, XmlLimits},
    xml::{self, XmlElement},
};

#[test]
fn both_keys_are_published() {
    let today = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
    let key = || SigningKey::generate(SigningKeyKind::P256, "sp", today, 365).unwrap();
    let (current, successor) = (key(), key());
    let service = ServiceProvider {
        entity_id: "https://sp.example.com/saml?a=1&b=\"2\"".to_owned(),
        acs_url: "https://sp.example.com/saml/acs".to_owned(),
        certificates: vec![
            current.certificate().clone(),
            successor.certificate().clone(),
        ],
        name_id_formats: vec![NAME_ID_PERSISTENT.to_owned()],
    };
    let text = service.to_metadata();
    let document = xml::parse(&text, &XmlLimits::default(), Comments::Refused).unwrap();
    let root = XmlElement::root(&document).unwrap();
    assert!(root.is(METADATA, "EntityDescriptor"));
    assert_eq!(root.attribute("entityID"), Some(service.entity_id.as_str()));
    let role = root
        .one_child(METADATA, "SPSSODescriptor")
        .unwrap()
        .unwrap();
    assert_eq!(role.attribute("WantAssertionsSigned"), Some("true"));
    assert_eq!(role.attribute("AuthnRequestsSigned"), Some("true"));
    let certificates = role
        .descendants()
        .filter(|element| element.is(DSIG, "X509Certificate"))
        .map(|element| SigningCertificate::from_text(&element.text().unwrap()).unwrap());
    assert_eq!(certificates.collect::<Vec<_>>(), service.certificates);
    let consumer = role.one_child(METADATA, "AssertionConsumerService");
    let consumer = consumer.unwrap().unwrap();
    assert_eq!(
        consumer.attribute("Location"),
        Some(service.acs_url.as_str())
    );
    assert_eq!(
        consumer.attribute("Binding"),
        Some(MessageBinding::HttpPost.uri())
    );
    // The order that the schema has.
    let order: Vec<_> = role.children().map(XmlElement::local_name).collect();
    assert_eq!(
        order,
        [
            "KeyDescriptor",
            "KeyDescriptor",
            "NameIDFormat",
            "AssertionConsumerService"
        ]
    );
}
