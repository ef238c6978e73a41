//! What an identity provider is told about this service.

use uppsala::XmlWriter;

use crate::{
    certificate::SigningCertificate,
    names::{DSIG, METADATA, MessageBinding, PROTOCOL},
    signing::key_info,
};

/// This service as an identity provider sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceProvider {
    /// What it is called: a URL, by custom that of its metadata.
    pub entity_id: String,
    /// Where it takes answers, by the HTTP-POST binding.
    pub acs_url: String,
    /// The certificates of the keys it signs requests with: today's, then the successor, which providers so know before it
    /// is used.
    pub certificates: Vec<SigningCertificate>,
    /// The formats of names that it can use, best first.
    pub name_id_formats: Vec<String>,
}

impl ServiceProvider {
    /// Writes the metadata that the provider is given.
    #[must_use]
    pub fn to_metadata(&self) -> String {
        let mut xml = XmlWriter::new();
        xml.write_declaration();
        let entity = [
            ("xmlns:md", METADATA),
            ("xmlns:ds", DSIG),
            ("entityID", self.entity_id.as_str()),
        ];
        xml.start_element("md:EntityDescriptor", &entity);
        let role = [
            ("AuthnRequestsSigned", "true"),
            ("WantAssertionsSigned", "true"),
            ("protocolSupportEnumeration", PROTOCOL),
        ];
        xml.start_element("md:SPSSODescriptor", &role);
        for certificate in &self.certificates {
            xml.start_element("md:KeyDescriptor", &[("use", "signing")]);
            xml.raw(&key_info(certificate));
            xml.end_element("md:KeyDescriptor");
        }
        for format in &self.name_id_formats {
            xml.start_element("md:NameIDFormat", &[]);
            xml.text(format);
            xml.end_element("md:NameIDFormat");
        }
        let consumer = [
            ("Binding", MessageBinding::HttpPost.uri()),
            ("Location", self.acs_url.as_str()),
            ("index", "0"),
            ("isDefault", "true"),
        ];
        xml.empty_element("md:AssertionConsumerService", &consumer);
        xml.end_element("md:SPSSODescriptor");
        xml.end_element("md:EntityDescriptor");
        xml.into_string()
    }
}

#[cfg(test)]
mod tests;
