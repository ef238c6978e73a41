//! Why an answer of an identity provider is not accepted.

use chrono::{DateTime, Utc};

use crate::{markup::MarkupError, signature::SignatureError};

/// Why an answer of an identity provider is not accepted: one variant for each way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SamlError {
    /// The form field is no base64.
    #[error("the answer is not in base64: the provider must use the HTTP-POST binding")]
    Base64,
    /// The markup is refused.
    #[error("the answer can not be read: {0}")]
    Markup(#[from] MarkupError),
    /// It is another message.
    #[error(
        "the message is a <{0}>, not a <Response>: check which address of this server the provider posts to"
    )]
    NotResponse(String),
    /// Another version of SAML.
    #[error("it is of SAML version \"{0}\": set the provider to 2.0")]
    Version(String),
    /// The provider says that the login failed. The texts are the provider's, and nobody signed them.
    #[error("the identity provider did not log the person in: {code}{}{}", in_brackets(.second), in_words(.message))]
    Status {
        /// The first status code, without the beginning that all have.
        code: String,
        /// The second, which is more specific.
        second: Option<String>,
        /// The provider's words.
        message: Option<String>,
    },
    /// Something is encrypted.
    #[error(
        "the answer has an <{0}>, and encrypted answers are not supported: switch encryption of assertions off for this service at the provider; TLS protects them on the way"
    )]
    Encrypted(String),
    /// Another number of assertions than one.
    #[error("the answer has {0} assertions, not one")]
    AssertionCount(usize),
    /// The assertion stands somewhere else than directly in the response.
    #[error("the assertion does not stand directly in the <Response>")]
    AssertionPlace,
    /// A signature stands somewhere else than in the response or its assertion.
    #[error("a signature stands somewhere else than directly in the <Response> or its <Assertion>")]
    SignaturePlace,
    /// A signature is not accepted.
    #[error("the signature of the {of} is not accepted: {error}")]
    Signature {
        /// Where it stands.
        of: &'static str,
        /// Why.
        #[source]
        error: SignatureError,
    },
    /// Nothing is signed.
    #[error("the assertion is not signed: set the provider to sign assertions")]
    Unsigned,
    /// The response is signed, and its assertion is not.
    #[error("only the response is signed: set the provider to sign assertions, too")]
    OnlyResponseSigned,
    /// The provider's metadata has ended.
    #[error("the provider's metadata was valid until {0}: load it again")]
    MetadataEnded(DateTime<Utc>),
    /// Something that must be there is not.
    #[error("the answer has no {0}")]
    Missing(&'static str),
    /// A time can not be read.
    #[error(
        "the answer's {what} is \"{value}\", which is no time in UTC such as 2026-01-31T12:00:00Z"
    )]
    Instant {
        /// Which time.
        what: &'static str,
        /// What stands there.
        value: String,
    },
    /// Another provider made it.
    #[error(
        "the answer is from the provider \"{found}\", and this connection is to \"{expected}\": correct the connection's provider"
    )]
    Issuer {
        /// Who made it.
        found: String,
        /// Who should have.
        expected: String,
    },
    /// It was sent to another address.
    #[error(
        "the answer was sent to \"{found}\", and this server expects it at \"{expected}\": correct the assertion consumer address at the provider"
    )]
    Destination {
        /// Where to; empty when it does not say.
        found: String,
        /// This server's address.
        expected: String,
    },
    /// It answers no request.
    #[error(
        "the answer belongs to no request of this server: begin the login here, not at the provider"
    )]
    Unsolicited,
    /// It answers another request.
    #[error(
        "the answer belongs to the request \"{0}\", which is not the one of this login: log in again"
    )]
    OtherRequest(String),
    /// No confirmation that the bearer is the subject.
    #[error(
        "the assertion has no bearer confirmation: the provider must use the web browser single sign-on profile"
    )]
    NotBearer,
    /// It is meant for another address.
    #[error(
        "the assertion is for \"{found}\", and this server is \"{expected}\": correct the recipient at the provider"
    )]
    Recipient {
        /// For which address; empty when it does not say.
        found: String,
        /// This server's address.
        expected: String,
    },
    /// It is meant for another service.
    #[error(
        "the assertion is for \"{found}\", and this service is called \"{expected}\": correct the audience (entity ID) at the provider"
    )]
    Audience {
        /// For which services.
        found: String,
        /// What this service is called.
        expected: String,
    },
    /// It has a condition that this server does not know.
    #[error("the assertion has the condition <{0}>, which is not supported")]
    Condition(String),
    /// It is not valid yet.
    #[error(
        "the {what} is valid from {from}, and it is {now}: compare the clocks of this machine and the provider's"
    )]
    NotYetValid {
        /// What.
        what: &'static str,
        /// From when.
        from: DateTime<Utc>,
        /// This machine's time.
        now: DateTime<Utc>,
    },
    /// It is not valid any more.
    #[error(
        "the {what} was valid until {until}, and it is {now}: log in again; if that does not help, compare the clocks of this machine and the provider's"
    )]
    Expired {
        /// What.
        what: &'static str,
        /// Until when.
        until: DateTime<Utc>,
        /// This machine's time.
        now: DateTime<Utc>,
    },
    /// Another number of statements on how the person was authenticated than one.
    #[error("the assertion has {0} statements on how the person was authenticated, not one")]
    AuthnStatements(usize),
    /// The person was authenticated in another way than was asked for.
    #[error(
        "the provider authenticated the person by \"{found}\", and {expected} was asked for: the provider must offer it, and the person must have it set up"
    )]
    AuthnContext {
        /// How; empty when it does not say.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// The person was authenticated before the login began, though a new authentication was asked for.
    #[error(
        "the provider authenticated the person at {found}, and a new authentication after {expected} was asked for: the provider must honour ForceAuthn"
    )]
    AuthnTooOld {
        /// When.
        found: DateTime<Utc>,
        /// After when it should have been.
        expected: DateTime<Utc>,
    },
    /// Too many attributes or values.
    #[error(
        "the assertion has more than {0} attributes or values of attributes: let the provider send fewer, such as the groups of this service only"
    )]
    TooManyValues(usize),
    /// A value is too long.
    #[error("\"{name}\" of the assertion is longer than {longest} bytes")]
    TooLong {
        /// Which value.
        name: String,
        /// The longest it may be.
        longest: usize,
    },
}

fn in_brackets(text: &Option<String>) -> String {
    text.as_ref()
        .map_or_else(String::new, |text| format!(" ({text})"))
}

fn in_words(text: &Option<String>) -> String {
    text.as_ref()
        .map_or_else(String::new, |text| format!(": {text}"))
}
