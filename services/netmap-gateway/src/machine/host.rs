//! What a client says of its host, bounded before it is stored or shown to others.

use axum::http::StatusCode;
use bowline_control_wire::{Hostinfo, plain_text};

use super::RequestFailure;

/// The longest description: room for a thousand routes and more.
const LONGEST: usize = 64 * 1024;
/// The longest name in it that is kept.
const LONGEST_NAME: usize = 256;

/// A host's description within bounds.
#[derive(Debug)]
pub(super) struct CheckedHostinfo {
    /// The description, its names cut and without control characters.
    pub(super) info: Hostinfo,
    /// The same as JSON.
    pub(super) json: Vec<u8>,
}

impl CheckedHostinfo {
    /// Takes what a client sent.
    ///
    /// # Errors
    ///
    /// 400 when it is longer than any host's is.
    pub(super) fn new(sent: Hostinfo) -> Result<Self, RequestFailure> {
        let info = Hostinfo {
            hostname: clean_name(&sent.hostname),
            os: clean_name(&sent.os),
            os_version: clean_name(&sent.os_version),
            ipn_version: clean_name(&sent.ipn_version),
            ..sent
        };
        let json = serde_json::to_vec(&info).map_err(|error| {
            RequestFailure::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        })?;
        if json.len() > LONGEST {
            let text = "the description of the host is longer than 64 KiB";
            return Err(RequestFailure::new(StatusCode::BAD_REQUEST, text));
        }
        Ok(Self { info, json })
    }
}

/// Cuts a name; control characters, which a database may refuse, become spaces.
pub(super) fn clean_name(text: &str) -> String {
    plain_text(&text[..text.floor_char_boundary(LONGEST_NAME)])
}

#[cfg(test)]
mod tests;
