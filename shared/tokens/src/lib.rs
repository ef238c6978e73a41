//! Tokens: random secrets that name themselves by an id, such as `bowline-api-0123456789ab-<64 digits>`.
//!
//! ```text
//! bowline-<kind>-<id>-<secret>      kind: what it is for; id: 6 random bytes, public; secret: 32 random bytes
//! ```
//!
//! The server keeps the id, to find the row by, and the SHA-256 of the whole text, to prove it by. The text is shown once,
//! when the token is made. The secret has 256 random bits: nobody finds it by trying, so a fast hash is enough.
//!
//! ```
//! use bowline_tokens::{PresentedToken, TokenKind};
//!
//! let made = TokenKind::ApiKey.make_token([1; 6], [2; 32]); // random bytes, from the caller
//! let presented = PresentedToken::parse(&made.text).expect("the form of a token");
//! assert_eq!((presented.kind(), presented.id()), (TokenKind::ApiKey, &*made.id)); // find the row by its id …
//! assert!(presented.matches(&made.hash)); // … and prove the text by its hash, in constant time
//! ```

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// What every token starts with.
const PREFIX: &str = "bowline-";
/// The length of an id in text: 6 bytes.
const ID_LENGTH: usize = 12;
/// The length of a secret in text: 32 bytes.
const SECRET_LENGTH: usize = 64;

/// What a token is for. A token of one kind is never taken for one of another: the kind is part of what is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenKind {
    /// Registers nodes.
    PreAuthKey,
    /// Calls the API as a user.
    ApiKey,
    /// The secret of an OAuth client, which gets access tokens with it.
    OAuthClient,
    /// Calls the API as an OAuth client, for an hour.
    AccessToken,
    /// Brings users and groups of a tailnet by SCIM.
    ScimToken,
    /// A person's session in a browser.
    Session,
    /// Lets one person in, once.
    Invitation,
    /// Gets a program at a terminal a session, once its person has logged in elsewhere (RFC 8628).
    DeviceCode,
}

impl TokenKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::PreAuthKey,
        Self::ApiKey,
        Self::OAuthClient,
        Self::AccessToken,
        Self::ScimToken,
        Self::Session,
        Self::Invitation,
        Self::DeviceCode,
    ];

    /// Returns the word for the kind in a token's text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreAuthKey => "auth",
            Self::ApiKey => "api",
            Self::OAuthClient => "client",
            Self::AccessToken => "access",
            Self::ScimToken => "scim",
            Self::Session => "session",
            Self::Invitation => "invitation",
            Self::DeviceCode => "device",
        }
    }

    /// Makes a token from random bytes; the caller owns the randomness.
    #[must_use]
    pub fn make_token(self, id: [u8; 6], secret: [u8; 32]) -> NewToken {
        let secret = Zeroizing::new(secret);
        let id = hex::encode(id);
        let digits = Zeroizing::new(hex::encode(*secret));
        let text = format!("{PREFIX}{}-{id}-{}", self.as_str(), *digits);
        let hash = hash_text(&text);
        NewToken {
            id,
            hash,
            text: Zeroizing::new(text),
        }
    }
}

/// A token that was just made.
pub struct NewToken {
    /// The id: 12 hexadecimal digits. It is no secret.
    pub id: String,
    /// What is kept of the text: its SHA-256.
    pub hash: Vec<u8>,
    /// The text, to be shown once.
    pub text: Zeroizing<String>,
}

impl fmt::Debug for NewToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("NewToken")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A text that has the form of a token. Whether it is one is known only from the row of its id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PresentedToken<'a> {
    kind: TokenKind,
    id: &'a str,
    text: &'a str,
}

impl<'a> PresentedToken<'a> {
    /// Reads a text; `None` when no token has this form.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (kind, rest) = text.strip_prefix(PREFIX)?.split_once('-')?;
        let (id, secret) = rest.split_once('-')?;
        let kind = TokenKind::ALL
            .into_iter()
            .find(|known| known.as_str() == kind)?;
        let is_whole = has_digits(id, ID_LENGTH) && has_digits(secret, SECRET_LENGTH);
        is_whole.then_some(Self { kind, id, text })
    }

    /// Reads a text that has to be a token of one kind.
    #[must_use]
    pub fn parse_as(kind: TokenKind, text: &'a str) -> Option<Self> {
        Self::parse(text).filter(|token| token.kind == kind)
    }

    /// Returns what it says it is for.
    #[must_use]
    pub const fn kind(&self) -> TokenKind {
        self.kind
    }

    /// Returns the id, to find the row by.
    #[must_use]
    pub const fn id(&self) -> &'a str {
        self.id
    }

    /// Returns what is kept of the text, to find a row by that has no id.
    #[must_use]
    pub fn hash(&self) -> Vec<u8> {
        hash_text(self.text)
    }

    /// Says in constant time whether it is the token that this was kept of.
    #[must_use]
    pub fn matches(&self, kept: &[u8]) -> bool {
        hash_text(self.text).ct_eq(kept).into()
    }
}

impl fmt::Debug for PresentedToken<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PresentedToken")
            .field("kind", &self.kind)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

fn hash_text(text: &str) -> Vec<u8> {
    Sha256::digest(text).to_vec()
}

/// Only lower case: one token has one text.
fn has_digits(text: &str, length: usize) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == length && text.bytes().all(is_digit)
}

#[cfg(test)]
mod tests;
