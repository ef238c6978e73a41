//! The cookies of this origin, and the tokens of its forms.

use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cookie::{Cookie, SameSite};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::failure::PageFailure;

/// A cookie by the name it has where browsers come by TLS, and without: the prefix of the first keeps other hosts and plain HTTP
/// from setting it.
#[derive(Clone, Copy)]
pub(crate) struct CookieName {
    pub(crate) secure: &'static str,
    pub(crate) plain: &'static str,
}

impl CookieName {
    const fn of(self, is_https: bool) -> &'static str {
        if is_https { self.secure } else { self.plain }
    }

    /// Returns what a browser sends under this name, each time it does.
    pub(crate) fn read_values(
        self,
        headers: &HeaderMap,
        is_https: bool,
    ) -> impl Iterator<Item = Zeroizing<String>> {
        let name = self.of(is_https);
        let lines = headers.get_all(header::COOKIE).into_iter();
        lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| Cookie::split_parse(line.to_owned()))
            .filter_map(Result::ok)
            .filter(move |cookie| cookie.name() == name)
            .map(|cookie| Zeroizing::new(cookie.value().to_owned()))
    }

    /// Returns the header that gives a browser a secret until it is closed, or (empty) takes it away. Other sites' requests do
    /// not carry it, but for a link that is followed.
    pub(crate) fn set_header(self, secret: &str, is_https: bool) -> HeaderValue {
        let mut cookie = Cookie::build((self.of(is_https), secret))
            .path("/")
            .http_only(true)
            .secure(is_https)
            .same_site(SameSite::Lax)
            .build();
        if secret.is_empty() {
            cookie.make_removal();
        }
        let mut value =
            HeaderValue::try_from(cookie.to_string()).unwrap_or(HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }
}

/// Returns the token of a form, for what the form is about: only a page that a browser with this secret was shown has it.
pub(crate) fn make_form_token(purpose: &str, secret: &[u8], about: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(purpose);
    hash.update(b"\0");
    hash.update(secret);
    hash.update(about);
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

/// Refuses a form that has another token.
pub(crate) fn check_form_token(expected: &str, token: &str) -> Result<(), PageFailure> {
    match bool::from(expected.as_bytes().ct_eq(token.as_bytes())) {
        true => Ok(()),
        false => Err(PageFailure::WrongToken),
    }
}
