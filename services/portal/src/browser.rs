//! A browser's secret: 256 bits in a cookie, which binds a login to the browser that began it.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bowline_clock::random_bytes;
use cookie::{Cookie, SameSite};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::failure::PageFailure;

/// The cookie where browsers come by TLS: the prefix keeps other hosts and plain HTTP from setting it.
const NAME: &str = "__Host-bowline-browser";
/// The cookie without TLS.
const PLAIN_NAME: &str = "bowline-browser";

/// A browser, known by its secret.
pub(crate) struct Browser {
    secret: Zeroizing<[u8; 32]>,
}

impl Browser {
    /// Returns the browser that a request comes from.
    ///
    /// # Errors
    ///
    /// When it has no secret.
    pub(crate) fn read(headers: &HeaderMap, is_https: bool) -> Result<Self, PageFailure> {
        let name = if is_https { NAME } else { PLAIN_NAME };
        let cookies = headers.get_all(header::COOKIE).into_iter();
        let mut found = cookies
            .filter_map(|value| value.to_str().ok())
            .flat_map(|line| Cookie::split_parse(line.to_owned()))
            .filter_map(Result::ok)
            .filter(|cookie| cookie.name() == name)
            .filter_map(|cookie| {
                Zeroizing::new(URL_SAFE_NO_PAD.decode(cookie.value()).ok()?)
                    .as_slice()
                    .try_into()
                    .ok()
            });
        let secret = found
            .next()
            .map(Zeroizing::new)
            .ok_or(PageFailure::NoBrowser)?;
        Ok(Self { secret })
    }

    /// Returns the browser, or a new one.
    pub(crate) fn read_or_make(headers: &HeaderMap, is_https: bool) -> Self {
        Self::read(headers, is_https).unwrap_or_else(|_| Self {
            secret: Zeroizing::new(random_bytes()),
        })
    }

    /// Returns the header that gives the browser its secret, until it is closed. Other sites' requests do not carry it, but
    /// for a link that is followed: the way back from a provider.
    pub(crate) fn cookie(&self, is_https: bool) -> HeaderValue {
        let name = if is_https { NAME } else { PLAIN_NAME };
        let value = URL_SAFE_NO_PAD.encode(*self.secret);
        let cookie = Cookie::build((name, value))
            .path("/")
            .http_only(true)
            .secure(is_https)
            .same_site(SameSite::Lax)
            .build();
        let mut value =
            HeaderValue::try_from(cookie.to_string()).unwrap_or(HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }

    /// Returns what identity knows the browser by.
    pub(crate) fn hash(&self) -> Vec<u8> {
        Sha256::digest(*self.secret).to_vec()
    }

    /// Returns the token of the form that decides an attempt: only a page that this browser was shown has it.
    pub(crate) fn form_token(&self, attempt: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(b"decide-login-attempt\0");
        hash.update(*self.secret);
        hash.update(attempt.as_bytes());
        URL_SAFE_NO_PAD.encode(hash.finalize())
    }

    /// Refuses a form that has another token.
    pub(crate) fn check_form_token(&self, attempt: &str, token: &str) -> Result<(), PageFailure> {
        let expected = self.form_token(attempt);
        match bool::from(expected.as_bytes().ct_eq(token.as_bytes())) {
            true => Ok(()),
            false => Err(PageFailure::WrongToken),
        }
    }
}

#[cfg(test)]
mod tests;
