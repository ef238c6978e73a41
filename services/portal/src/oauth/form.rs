//! The form of a request.

use axum::http::{HeaderMap, header};
use zeroize::Zeroizing;

use super::failure::OAuthFailure;

/// The fields of a form, each there once. What is not known is passed over (RFC 6749 section 3.2).
pub(super) struct OAuthForm(Vec<(String, Zeroizing<String>)>);

impl OAuthForm {
    /// Reads a form.
    pub(super) fn read(headers: &HeaderMap, body: &str) -> Result<Self, OAuthFailure> {
        let kind = headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            let text = "the request is a form: send it as application/x-www-form-urlencoded";
            return Err(OAuthFailure::invalid_request(text));
        }
        let mut fields: Vec<(String, Zeroizing<String>)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(body.as_bytes()) {
            if fields.iter().any(|(seen, _)| *seen == name) {
                let text = format!("{name} is there twice");
                return Err(OAuthFailure::invalid_request(text));
            }
            fields.push((name.into_owned(), Zeroizing::new(value.into_owned())));
        }
        Ok(Self(fields))
    }

    /// Takes a field; empty when it is not there.
    pub(super) fn take(&mut self, name: &str) -> Zeroizing<String> {
        let found = self.0.iter_mut().find(|(field, _)| field == name);
        found.map_or_else(Zeroizing::default, |(_, value)| std::mem::take(value))
    }

    /// Takes a field that has to be there.
    pub(super) fn require(&mut self, name: &str) -> Result<Zeroizing<String>, OAuthFailure> {
        let value = self.take(name);
        match value.is_empty() {
            false => Ok(value),
            true => Err(OAuthFailure::invalid_request(format!("{name} is missing"))),
        }
    }

    /// Takes the words of a field.
    pub(super) fn take_words(&mut self, name: &str) -> Vec<String> {
        let value = self.take(name);
        value.split_whitespace().map(str::to_owned).collect()
    }
}
