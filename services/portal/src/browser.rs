//! A browser's secret: 256 bits in a cookie, which binds a login to the browser that began it.

use axum::http::{HeaderMap, HeaderValue};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bowline_clock::random_bytes;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::{
    cookies::{CookieName, check_form_token, make_form_token},
    failure::PageFailure,
};

const COOKIE: CookieName = CookieName {
    secure: "__Host-bowline-browser",
    plain: "bowline-browser",
};

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
        let mut found = COOKIE.read_values(headers, is_https).filter_map(|value| {
            Zeroizing::new(URL_SAFE_NO_PAD.decode(&*value).ok()?)
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
        let value = Zeroizing::new(URL_SAFE_NO_PAD.encode(*self.secret));
        COOKIE.set_header(&value, is_https)
    }

    /// Returns what identity knows the browser by.
    pub(crate) fn hash(&self) -> Vec<u8> {
        Sha256::digest(*self.secret).to_vec()
    }

    /// Returns the token of the form that decides an attempt: only a page that this browser was shown has it.
    pub(crate) fn form_token(&self, attempt: &str) -> String {
        make_form_token("decide-login-attempt", &*self.secret, attempt)
    }

    /// Refuses a form that has another token.
    pub(crate) fn check_form_token(&self, attempt: &str, token: &str) -> Result<(), PageFailure> {
        check_form_token(&self.form_token(attempt), token)
    }
}

#[cfg(test)]
mod tests;
