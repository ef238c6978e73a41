//! The rules for tailnets, users and logins: pure functions, without IO or clock.

pub mod approval_question;
pub mod attempt;
pub mod condition;
pub mod connection;
pub mod connection_check;
pub mod credential;
mod differences;
pub mod dns;
pub mod group;
pub mod key_policy;
pub mod login;
pub mod person;
pub mod program;
pub mod saml;
pub mod scim;
pub mod session;
pub mod ssh;
pub mod suspension;
pub mod tailnet;
pub mod user;
pub mod webhook;

pub use differences::describe_change;

use crate::error::IdentityError;

/// Checks a text that people read. Quotation marks, backslashes and control characters are refused: they would break a line
/// that shows the text, or a client's JSON.
pub(crate) fn check_text(
    field: &'static str,
    text: &str,
    longest: usize,
) -> Result<(), IdentityError> {
    if text.len() > longest {
        return Err(IdentityError::invalid(
            field,
            format!("is longer than {longest} bytes"),
        ));
    }
    if text
        .chars()
        .any(|character| character.is_control() || "\"\\".contains(character))
    {
        let problem = "holds a quotation mark, a backslash or a control character";
        return Err(IdentityError::invalid(field, problem));
    }
    Ok(())
}

/// Checks a text that becomes one label of DNS names, such as the name of a tailnet.
pub(crate) fn check_label(field: &'static str, label: &str) -> Result<(), IdentityError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let inner = label.bytes().all(allowed) && !label.starts_with('-') && !label.ends_with('-');
    if label.is_empty() || label.len() > 63 || !inner {
        let problem =
            "is 1 to 63 lower-case letters, digits and hyphens, with no hyphen at either end";
        return Err(IdentityError::invalid(field, problem));
    }
    Ok(())
}
