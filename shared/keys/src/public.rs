//! Public keys and their text forms.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A text or a byte string that is not a key of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text does not begin with the kind's prefix.
    #[error("the key does not begin with \"{0}\"")]
    Prefix(&'static str),
    /// What follows the prefix is not 64 hexadecimal digits.
    #[error("a key is 64 hexadecimal digits")]
    Digits,
    /// The byte string is not 32 bytes long.
    #[error("a key is 32 bytes, got {0}")]
    Length(usize),
}

/// Reads 64 hexadecimal digits of either case.
pub(crate) fn from_hex(text: &str) -> Result<[u8; 32], KeyError> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return Err(KeyError::Digits);
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Ok(bytes)
}

fn hex_digit(character: u8) -> Result<u8, KeyError> {
    match character {
        b'0'..=b'9' => Ok(character - b'0'),
        b'a'..=b'f' => Ok(character - b'a' + 10),
        b'A'..=b'F' => Ok(character - b'A' + 10),
        _ => Err(KeyError::Digits),
    }
}

/// Returns bytes as lower-case hexadecimal digits after a prefix. Netmaps have so many keys that formatting each byte counts.
fn to_text(prefix: &str, bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(prefix.len() + 2 * bytes.len());
    text.push_str(prefix);
    for byte in bytes {
        for digit in [byte >> 4, byte & 0xf] {
            text.push(char::from(DIGITS[usize::from(digit)]));
        }
    }
    text
}

macro_rules! public_key {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// What the text form begins with.
            pub const PREFIX: &'static str = $prefix;
            /// The key that stands for "absent".
            pub const ZERO: Self = Self([0; 32]);

            /// Makes the key from its bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Returns the bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Says whether the key stands for "absent".
            #[must_use]
            pub fn is_zero(&self) -> bool {
                self.0 == [0; 32]
            }

            /// Reads the form without prefix: 64 hexadecimal digits.
            ///
            /// # Errors
            ///
            /// [`KeyError::Digits`] for anything else.
            pub fn from_hex(text: &str) -> Result<Self, KeyError> {
                from_hex(text).map(Self)
            }

            /// Returns the form without prefix: 64 lower-case hexadecimal digits.
            #[must_use]
            pub fn to_hex(&self) -> String {
                to_text("", &self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&to_text(Self::PREFIX, &self.0))
            }
        }

        impl fmt::Debug for $name {
            /// Writes the prefix and the first 8 digits: enough to tell keys apart in a log.
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&to_text(Self::PREFIX, &self.0[..4]))?;
                formatter.write_str("…")
            }
        }

        impl FromStr for $name {
            type Err = KeyError;

            fn from_str(text: &str) -> Result<Self, KeyError> {
                let digits = text.strip_prefix($prefix).ok_or(KeyError::Prefix($prefix))?;
                Self::from_hex(digits)
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = KeyError;

            fn try_from(bytes: &[u8]) -> Result<Self, KeyError> {
                bytes.try_into().map(Self).map_err(|_| KeyError::Length(bytes.len()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&to_text(Self::PREFIX, &self.0))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

public_key!(
    /// A machine key: one for each installation; authenticates the client to control.
    MachinePublic,
    "mkey:"
);
public_key!(
    /// A node key: the WireGuard key bound to an identity; rotates and expires.
    NodePublic,
    "nodekey:"
);
public_key!(
    /// A disco key: finds UDP paths between peers; new at each start of a client.
    DiscoPublic,
    "discokey:"
);
public_key!(
    /// A challenge key: made by the server for one Noise connection.
    ChallengePublic,
    "chalpub:"
);

#[cfg(test)]
mod tests;
