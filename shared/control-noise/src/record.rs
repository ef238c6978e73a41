//! Records: the framing after the handshake (protocol sections 4.2 and 4.4).

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

/// The most a record carries: 4096 bytes on the wire less header and tag.
pub const MAX_PLAINTEXT: usize = 4096 - HEADER - TAG;
pub(crate) const HEADER: usize = 3;
pub(crate) const TAG: usize = 16;
const NONCE: usize = 12;
const TYPE_RECORD: u8 = 4;

/// Why a record can not be read or written. All are fatal for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Another kind of frame.
    #[error("a frame of type {0} is not expected here")]
    Type(u8),
    /// Longer than 4096 bytes, or too short to hold its tag.
    #[error("a record of {0} bytes is not allowed")]
    Length(usize),
    /// It was changed, replayed or reordered.
    #[error("a record can not be decrypted")]
    Decryption,
    /// The library can not work with the key.
    #[error("a record can not be encrypted")]
    Encryption,
    /// The counter has no value left.
    #[error("the connection has used up its nonces")]
    Exhausted,
}

/// Encrypts or decrypts the records of one direction: a key and a counter.
pub(crate) struct Cipher {
    /// `None` where the library can not work with the key, which it always can.
    key: Option<LessSafeKey>,
    counter: u64,
}

impl Cipher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self::starting_at(key, 0)
    }

    fn starting_at(key: &[u8; 32], counter: u64) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key);
        Self {
            key: key.ok().map(LessSafeKey::new),
            counter,
        }
    }

    /// Returns the next nonce and counts on: four zero bytes, then the counter, big-endian unlike in the Noise standard.
    fn next_nonce(&mut self) -> Result<Nonce, RecordError> {
        if self.counter == u64::MAX {
            return Err(RecordError::Exhausted);
        }
        let mut nonce = [0; NONCE];
        nonce[4..].copy_from_slice(&self.counter.to_be_bytes());
        self.counter += 1;
        Ok(Nonce::assume_unique_for_key(nonce))
    }

    /// Appends the record of `plaintext`, at most [`MAX_PLAINTEXT`] bytes, to `out`.
    #[cfg(test)]
    pub(crate) fn seal_record(
        &mut self,
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        let start = begin_record(out);
        out.extend_from_slice(plaintext);
        self.finish_record(start, out)
    }

    /// Makes the end of `out` the record that was begun there, of the at most [`MAX_PLAINTEXT`] bytes since `start`; takes it off
    /// where that fails.
    pub(crate) fn finish_record(
        &mut self,
        start: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        let sealed = self.seal_in_place(start, out);
        if sealed.is_err() {
            out.truncate(start - HEADER);
        }
        sealed
    }

    fn seal_in_place(&mut self, start: usize, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let plaintext = out.len() - start;
        let length = plaintext + TAG;
        let field = match u16::try_from(length) {
            Ok(field) if plaintext <= MAX_PLAINTEXT => field,
            _ => return Err(RecordError::Length(length)),
        };
        out[start - HEADER + 1..start].copy_from_slice(&field.to_be_bytes());
        let nonce = self.next_nonce()?;
        let key = self.key.as_ref().ok_or(RecordError::Encryption)?;
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::empty(), &mut out[start..])
            .map_err(|_| RecordError::Encryption)?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Decrypts a record's body in place and returns the plaintext's length.
    pub(crate) fn open_record(&mut self, body: &mut [u8]) -> Result<usize, RecordError> {
        if body.len() < TAG {
            return Err(RecordError::Length(body.len()));
        }
        let nonce = self.next_nonce()?;
        let key = self.key.as_ref().ok_or(RecordError::Decryption)?;
        let opened = key.open_in_place(nonce, Aad::empty(), body);
        opened
            .map(|plaintext| plaintext.len())
            .map_err(|_| RecordError::Decryption)
    }
}

/// Begins a record at the end of `out`, and returns where its plaintext starts.
pub(crate) fn begin_record(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[TYPE_RECORD, 0, 0]);
    out.len()
}

/// Reads a record's header: the length of the body that follows.
pub(crate) fn body_length(header: [u8; HEADER]) -> Result<usize, RecordError> {
    if header[0] != TYPE_RECORD {
        return Err(RecordError::Type(header[0]));
    }
    let length = usize::from(u16::from_be_bytes([header[1], header[2]]));
    if (TAG..=MAX_PLAINTEXT + TAG).contains(&length) {
        Ok(length)
    } else {
        Err(RecordError::Length(length))
    }
}

#[cfg(test)]
mod tests;
