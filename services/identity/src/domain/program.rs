//! Programs at a terminal that want a session, whose person logs in in a browser elsewhere (RFC 8628).

use bowline_proto::identity::v1::{
    BrowserDescription, Device, Login, LoginPurpose, ProgramDescription,
};
use chrono::{DateTime, Utc};

use super::login;
use crate::error::IdentityError;

/// The letters of a code: none is a vowel, so that no code is a word (RFC 8628 section 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// How many letters a code has: 34 bits, for a code that finds a login and proves nothing.
const CODE_LENGTH: usize = 8;
/// The longest name and User-Agent that are kept, in characters.
const LONGEST_NAME: usize = 100;

/// Makes a code of random bits.
pub fn make_user_code(random: [u8; 8]) -> String {
    let mut rest = u64::from_be_bytes(random);
    let letters = LETTERS.len() as u64;
    let mut next_letter = || {
        let letter = LETTERS[usize::try_from(rest % letters).unwrap_or_default()];
        rest /= letters;
        char::from(letter)
    };
    (0..CODE_LENGTH).map(|_| next_letter()).collect()
}

/// Reads a code as a person types it; `None` when it has another form.
pub fn read_user_code(text: &str) -> Option<String> {
    let letters = text.chars().filter(|c| !matches!(c, '-' | ' ')).take(20);
    let code: String = letters.map(|c| c.to_ascii_uppercase()).collect();
    let is_code = code.len() == CODE_LENGTH && code.bytes().all(|byte| LETTERS.contains(&byte));
    is_code.then_some(code)
}

/// Returns a new login of a program. Its device code's hash is `code_hash`.
pub fn new_login(
    id: String,
    code_hash: Vec<u8>,
    user_code: String,
    name: &str,
    description: BrowserDescription,
    now: DateTime<Utc>,
) -> Result<Login, IdentityError> {
    let clean = |text: &str| {
        let shown = text.chars().filter(|c| !c.is_control());
        shown.take(LONGEST_NAME).collect::<String>()
    };
    let name = clean(name);
    let device = Device {
        // A release that knows no programs shows this.
        hostname: format!("the program {name}, code {user_code}"),
        source_address: description.source_address,
        ..Device::default()
    };
    let mut made = login::new(id, code_hash.clone(), code_hash, device, now)?;
    made.set_purpose(LoginPurpose::Program);
    made.program = Some(ProgramDescription {
        user_code,
        name,
        user_agent: clean(&description.user_agent),
    });
    Ok(made)
}

/// Returns what a session of a program says in place of a browser.
pub fn describe_session(login: &Login) -> BrowserDescription {
    let program = login.program.clone().unwrap_or_default();
    let user_agent = match (program.name.as_str(), program.user_agent) {
        ("", agent) => agent,
        (name, agent) if agent.is_empty() => name.to_owned(),
        (name, agent) => format!("{name} ({agent})"),
    };
    BrowserDescription {
        source_address: login::source_address(login).to_owned(),
        user_agent,
    }
}

#[cfg(test)]
mod tests;
