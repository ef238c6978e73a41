//! The list of those who are not let in although their certificate is valid.

use std::collections::BTreeSet;

use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{Caller, caller::is_admin_name};

/// Serial numbers and names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DeniedList {
    /// Without leading zeros.
    serials: BTreeSet<Vec<u8>>,
    /// As audit trails have them.
    names: BTreeSet<String>,
}

impl DeniedList {
    /// Reads a list: on each line a serial number or a name; `#` begins a comment.
    ///
    /// # Errors
    ///
    /// The first line that is neither: whoever wrote it wanted somebody kept out.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut denied = Self::default();
        for (index, line) in text.lines().enumerate() {
            let entry = line.split_once('#').map_or(line, |(entry, _)| entry).trim();
            if entry.is_empty() {
                continue;
            }
            if is_name(entry) {
                denied.names.insert(entry.to_owned());
            } else if let Some(serial) = parse_serial(entry) {
                denied.serials.insert(serial);
            } else {
                return Err(format!(
                    "line {}: \"{}\" is neither a serial number in hexadecimal digits nor a name such as admin:amira or service:relay",
                    index + 1,
                    entry.escape_debug()
                ));
            }
        }
        Ok(denied)
    }

    /// Says whether the list names a certificate. One that can not be read is named: nobody can say whose it is.
    pub(super) fn includes_certificate(&self, certificate: &[u8]) -> bool {
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
            return true;
        };
        let is_named = || {
            Caller::from_certificate(certificate)
                .is_some_and(|caller| self.names.contains(&caller.to_string()))
        };
        self.serials.contains(without_zeros(parsed.raw_serial())) || is_named()
    }
}

fn is_name(entry: &str) -> bool {
    match entry.split_once(':') {
        Some(("admin", name)) => is_admin_name(name),
        Some(("service", name)) => name.parse::<crate::ServiceName>().is_ok(),
        _ => false,
    }
}

/// Reads a serial number as tools print it: digits, with colons between the bytes or without.
fn parse_serial(entry: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = entry
        .chars()
        .filter(|digit| *digit != ':')
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|value| u8::try_from(value).ok())
        })
        .collect::<Option<_>>()?;
    let (odd, pairs) = digits.split_at(digits.len() % 2);
    let bytes = pairs.chunks(2).map(|pair| pair[0] << 4 | pair[1]);
    let bytes: Vec<_> = odd.iter().copied().chain(bytes).collect();
    let serial = without_zeros(&bytes);
    (!serial.is_empty()).then(|| serial.to_vec())
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| *byte != 0);
    &bytes[start.unwrap_or(bytes.len())..]
}

#[cfg(test)]
mod tests;
