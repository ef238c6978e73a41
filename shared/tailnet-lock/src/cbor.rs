//! CBOR as CTAP2 has it: one form for each value.
//!
//! Only what the messages need is read and written: numbers, bytes, texts, lists, maps and null. The reader refuses
//! indefinite lengths, tags, floats, and numbers that are longer than they have to be. That members of a map are in order,
//! that none is there twice, and that none is written that could be left out follows from one comparison: whoever decodes a
//! message encodes it again and refuses one that differs ([`require_canonical`]).

use crate::error::LockFormatError;

const NUMBER: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const LIST: u8 = 4;
const MAP: u8 = 5;
const NULL: u8 = 0xf6;
/// The longest list and map that clients read.
const MOST_ELEMENTS: u64 = 4096;
const MOST_PAIRS: u64 = 1024;

/// Reads values one after the other.
pub(crate) struct CborReader<'a> {
    rest: &'a [u8],
}

impl<'a> CborReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Reads a number.
    pub(crate) fn read_number(&mut self) -> Result<u64, LockFormatError> {
        self.read_head(NUMBER, "a number")
    }

    /// Reads bytes.
    pub(crate) fn read_bytes(&mut self) -> Result<&'a [u8], LockFormatError> {
        let length = self.read_head(BYTES, "bytes")?;
        self.take(length)
    }

    /// Reads exactly so many bytes.
    pub(crate) fn read_array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<[u8; N], LockFormatError> {
        let bytes = self.read_bytes()?;
        bytes.try_into().map_err(|_| LockFormatError::Length {
            field,
            wanted: N,
            found: bytes.len(),
        })
    }

    /// Reads a text.
    pub(crate) fn read_text(&mut self) -> Result<&'a str, LockFormatError> {
        let length = self.read_head(TEXT, "a text")?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| LockFormatError::NotUtf8)
    }

    /// Reads how many elements follow.
    pub(crate) fn read_list(&mut self) -> Result<u64, LockFormatError> {
        let length = self.read_head(LIST, "a list")?;
        bound(length, MOST_ELEMENTS)
    }

    /// Reads how many pairs follow.
    pub(crate) fn read_map(&mut self) -> Result<u64, LockFormatError> {
        let length = self.read_head(MAP, "a map")?;
        bound(length, MOST_PAIRS)
    }

    /// Passes over a null, if there is one.
    pub(crate) fn skip_null(&mut self) -> bool {
        match self.rest.split_first() {
            Some((&NULL, rest)) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Refuses what comes after the message.
    pub(crate) fn finish(&self) -> Result<(), LockFormatError> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(LockFormatError::Trailing(more)),
        }
    }

    fn read_head(&mut self, kind: u8, wanted: &'static str) -> Result<u64, LockFormatError> {
        let &[first] = self.take(1)? else {
            return Err(LockFormatError::Truncated);
        };
        if first >> 5 != kind {
            return Err(LockFormatError::Unexpected { wanted, first });
        }
        let (width, least) = match first & 0x1f {
            short @ 0..24 => return Ok(u64::from(short)),
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            _ => return Err(LockFormatError::Unexpected { wanted, first }),
        };
        let bytes = self.take(width)?;
        let number = bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte));
        if number < least {
            return Err(LockFormatError::NotCanonical);
        }
        Ok(number)
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], LockFormatError> {
        let length = usize::try_from(length).map_err(|_| LockFormatError::Truncated)?;
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(LockFormatError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn bound(length: u64, most: u64) -> Result<u64, LockFormatError> {
    if length > most {
        return Err(LockFormatError::TooMany { most, length });
    }
    Ok(length)
}

/// Refuses a message that is not what its content encodes to.
pub(crate) fn require_canonical(sent: &[u8], encoded: &[u8]) -> Result<(), LockFormatError> {
    if sent != encoded {
        return Err(LockFormatError::NotCanonical);
    }
    Ok(())
}

/// Writes values one after the other.
#[derive(Default)]
pub(crate) struct CborWriter {
    bytes: Vec<u8>,
}

impl CborWriter {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn write_number(&mut self, number: u64) {
        self.write_head(NUMBER, number);
    }

    pub(crate) fn write_bytes(&mut self, bytes: &[u8]) {
        self.write_head(BYTES, bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn write_text(&mut self, text: &str) {
        self.write_head(TEXT, text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn write_list(&mut self, length: usize) {
        self.write_head(LIST, length as u64);
    }

    pub(crate) fn write_null(&mut self) {
        self.bytes.push(NULL);
    }

    /// Writes a map whose keys are numbers, of the members that there are. They are given in order.
    pub(crate) fn write_members(&mut self, members: &[(u64, Option<WriteMember<'_>>)]) {
        let there = members.iter().filter(|(_, member)| member.is_some());
        self.write_head(MAP, there.count() as u64);
        for (number, member) in members {
            if let Some(write) = member {
                self.write_number(*number);
                write(self);
            }
        }
    }

    /// Writes how many pairs follow.
    pub(crate) fn write_map(&mut self, pairs: usize) {
        self.write_head(MAP, pairs as u64);
    }

    fn write_head(&mut self, kind: u8, number: u64) {
        let kind = kind << 5;
        let big = number.to_be_bytes();
        let (short, bytes) = match number {
            0..24 => (big[7], &big[8..]),
            24..0x100 => (24, &big[7..]),
            0x100..0x1_0000 => (25, &big[6..]),
            0x1_0000..0x1_0000_0000 => (26, &big[4..]),
            _ => (27, &big[..]),
        };
        self.bytes.push(kind | short);
        self.bytes.extend_from_slice(bytes);
    }
}

/// What writes the value of a member of a map.
pub(crate) type WriteMember<'a> = &'a dyn Fn(&mut CborWriter);

/// A member that there is only under a condition.
pub(crate) fn when(is_there: bool, member: WriteMember<'_>) -> Option<WriteMember<'_>> {
    is_there.then_some(member)
}
