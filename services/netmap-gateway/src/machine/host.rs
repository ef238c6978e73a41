//! What a client says of its host, bounded before it is stored or shown to others.

use axum::http::StatusCode;
use bowline_control_wire::{Hostinfo, plain_text};

use super::RequestFailure;

/// The longest description: a thousand routes and then some.
const LONGEST: usize = 64 * 1024;
/// The longest name in it that is kept.
const LONGEST_NAME: usize = 256;

/// A description that may be kept.
#[derive(Debug)]
pub(super) struct HostReportSource {
    /// The description, its names cut and without control characters.
    pub(super) info: Hostinfo,
    /// The same as JSON.
    pub(super) json: Vec<u8>,
}

impl HostReportSource {
    /// Takes what a client sent.
    ///
    /// # Errors
    ///
    /// 400 when it is longer than any host's is.
    pub(super) fn new(sent: Hostinfo) -> Result<Self, RequestFailure> {
        let info = Hostinfo {
            hostname: clean_hostname(&sent.hostname),
            os: clean_hostname(&sent.os),
            ipn_version: clean_hostname(&sent.ipn_version),
            ..sent
        };
        let json = serde_json::to_vec(&info).unwrap_or_default();
        if json.len() > LONGEST {
            let text = "the description of the host is longer than 64 KiB";
            return Err(RequestFailure::new(StatusCode::BAD_REQUEST, text));
        }
        Ok(Self { info, json })
    }
}

/// Cuts a name; control characters, which a database may refuse, become spaces.
pub(super) fn clean_hostname(text: &str) -> String {
    plain_text(&text[..text.floor_char_boundary(LONGEST_NAME)])
}

#[cfg(test)]
mod tests;
