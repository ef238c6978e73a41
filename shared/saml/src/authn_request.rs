//! What the browser takes to the identity provider: a signed request to authenticate somebody.

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use miniz_oxide::deflate::compress_to_vec;
use uppsala::XmlWriter;
use url::{Url, form_urlencoded};

use crate::{
    instant::format_instant,
    names::{ASSERTION, MessageBinding, PROTOCOL},
    signing::{SigningError, fill_signature, signature_template},
    signing_key::SigningKey,
};

/// The longest relay state that providers give back, in bytes.
const LONGEST_RELAY_STATE: usize = 80;
/// How hard the request is compressed: it is small.
const COMPRESSION: u8 = 6;

/// Why a request was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthnRequestError {
    /// The relay state is longer than providers give back.
    #[error("the relay state has {0} bytes, and providers give back at most {LONGEST_RELAY_STATE}")]
    RelayState(usize),
    /// The provider's address is no URL.
    #[error("the provider's address \"{0}\" is no URL")]
    Destination(String),
    /// It was not signed.
    #[error("the request was not signed: {0}")]
    Signing(#[from] SigningError),
}

/// Returns the id of a request, from random bytes. An id in XML begins with no digit.
#[must_use]
pub fn request_id(random: [u8; 16]) -> String {
    format!("_{}", hex::encode(random))
}

/// A request to authenticate somebody.
#[derive(Clone, Debug)]
pub struct AuthnRequest<'a> {
    /// Its id, by [`request_id`], which the answer names.
    pub id: &'a str,
    /// The time.
    pub issued: DateTime<Utc>,
    /// The provider's address, by the binding that is used.
    pub destination: &'a str,
    /// What this service is called.
    pub entity_id: &'a str,
    /// Where the answer is to go.
    pub acs_url: &'a str,
    /// Which format of name is asked for; `None`: the provider's choice.
    pub name_id_format: Option<&'a str>,
    /// One of these ways of authentication is asked for; none: any will do.
    pub authn_contexts: &'a [String],
    /// The person must authenticate anew.
    pub force_authn: bool,
}

/// A form that the browser posts to the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostForm {
    /// Where to.
    pub action: String,
    /// Its fields.
    pub fields: Vec<(&'static str, String)>,
}

impl AuthnRequest<'_> {
    /// Returns the URL to send the browser to, by the HTTP-Redirect binding. The signature is in its query.
    ///
    /// # Errors
    ///
    /// Any [`AuthnRequestError`].
    pub fn to_redirect_url(
        &self,
        relay_state: &str,
        key: &SigningKey,
    ) -> Result<String, AuthnRequestError> {
        check_relay_state(relay_state)?;
        let url = Url::parse(self.destination)
            .map_err(|_| AuthnRequestError::Destination(self.destination.to_owned()))?;
        let compressed = compress_to_vec(self.to_xml("").as_bytes(), COMPRESSION);
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("SAMLRequest", &STANDARD.encode(compressed));
        if !relay_state.is_empty() {
            query.append_pair("RelayState", relay_state);
        }
        query.append_pair("SigAlg", key.algorithm());
        // These bytes are signed, in this order.
        let signed = query.finish();
        let signature = STANDARD.encode(key.sign(signed.as_bytes()).map_err(SigningError::Key)?);
        let signature: String = form_urlencoded::byte_serialize(signature.as_bytes()).collect();
        let given = url.query().filter(|query| !query.is_empty());
        let given = given.map_or_else(String::new, |query| format!("{query}&"));
        let mut url = url.clone();
        url.set_fragment(None);
        url.set_query(Some(&format!("{given}{signed}&Signature={signature}")));
        Ok(url.into())
    }

    /// Returns the form to let the browser post, by the HTTP-POST binding. The signature is in the request.
    ///
    /// # Errors
    ///
    /// Any [`AuthnRequestError`].
    pub fn to_post_form(
        &self,
        relay_state: &str,
        key: &SigningKey,
    ) -> Result<PostForm, AuthnRequestError> {
        check_relay_state(relay_state)?;
        let unsigned = self.to_xml(&signature_template(self.id, key));
        let signed = fill_signature(&unsigned, key)?;
        let mut fields = vec![("SAMLRequest", STANDARD.encode(signed))];
        if !relay_state.is_empty() {
            fields.push(("RelayState", relay_state.to_owned()));
        }
        Ok(PostForm {
            action: self.destination.to_owned(),
            fields,
        })
    }

    /// Writes the request, with a signature behind its issuer.
    fn to_xml(&self, signature: &str) -> String {
        let issued = format_instant(self.issued);
        let mut attributes = vec![
            ("xmlns:samlp", PROTOCOL),
            ("xmlns:saml", ASSERTION),
            ("ID", self.id),
            ("Version", "2.0"),
            ("IssueInstant", &issued),
            ("Destination", self.destination),
            ("AssertionConsumerServiceURL", self.acs_url),
            ("ProtocolBinding", MessageBinding::HttpPost.uri()),
        ];
        if self.force_authn {
            attributes.push(("ForceAuthn", "true"));
        }
        let mut xml = XmlWriter::new();
        xml.start_element("samlp:AuthnRequest", &attributes);
        xml.start_element("saml:Issuer", &[]);
        xml.text(self.entity_id);
        xml.end_element("saml:Issuer");
        xml.raw(signature);
        let mut policy = vec![("AllowCreate", "true")];
        policy.extend(self.name_id_format.map(|format| ("Format", format)));
        xml.empty_element("samlp:NameIDPolicy", &policy);
        if !self.authn_contexts.is_empty() {
            xml.start_element("samlp:RequestedAuthnContext", &[("Comparison", "exact")]);
            for context in self.authn_contexts {
                xml.start_element("saml:AuthnContextClassRef", &[]);
                xml.text(context);
                xml.end_element("saml:AuthnContextClassRef");
            }
            xml.end_element("samlp:RequestedAuthnContext");
        }
        xml.end_element("samlp:AuthnRequest");
        xml.into_string()
    }
}

fn check_relay_state(relay_state: &str) -> Result<(), AuthnRequestError> {
    match relay_state.len() <= LONGEST_RELAY_STATE {
        true => Ok(()),
        false => Err(AuthnRequestError::RelayState(relay_state.len())),
    }
}

#[cfg(test)]
mod tests;
