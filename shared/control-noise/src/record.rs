//! Records: the framing after the handshake (protocol sections 4.2 and 4.4).

use chacha20poly1305::{AeadInPlace, ChaCha20Poly1305, KeyInit, Nonce};

/// The most a record carries: 4096 bytes on the wire less header and tag.
pub const MAX_PLAINTEXT: usize = 4096 - HEADER - TAG;
pub(crate) const HEADER: usize = 3;
pub(crate) const TAG: usize = 16;
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
    /// The counter has no value left.
    #[error("the connection has used up its nonces")]
    Exhausted,
}

/// Encrypts or decrypts the records of one direction: a key and a counter.
pub(crate) struct Cipher {
    cipher: ChaCha20Poly1305,
    counter: u64,
}

impl Cipher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self::starting_at(key, 0)
    }

    fn starting_at(key: &[u8; 32], counter: u64) -> Self {
        Self {
            cipher: ChaCha20Poly1305::new(key.into()),
            counter,
        }
    }

    /// Returns the next nonce and counts on: four zero bytes, then the counter, big-endian unlike in the Noise standard.
    fn next_nonce(&mut self) -> Result<Nonce, RecordError> {
        if self.counter == u64::MAX {
            return Err(RecordError::Exhausted);
        }
        let mut nonce = Nonce::default();
        nonce[4..].copy_from_slice(&self.counter.to_be_bytes());
        self.counter += 1;
        Ok(nonce)
    }

    /// Appends the record of `plaintext`, at most [`MAX_PLAINTEXT`] bytes, to `out`.
    pub(crate) fn seal_record(
        &mut self,
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        let length = plaintext.len() + TAG;
        let field = match u16::try_from(length) {
            Ok(field) if plaintext.len() <= MAX_PLAINTEXT => field,
            _ => return Err(RecordError::Length(length)),
        };
        let nonce = self.next_nonce()?;
        out.push(TYPE_RECORD);
        out.extend_from_slice(&field.to_be_bytes());
        let start = out.len();
        out.extend_from_slice(plaintext);
        let tag = self
            .cipher
            .encrypt_in_place_detached(&nonce, &[], &mut out[start..])
            .map_err(|_| RecordError::Length(length))?;
        out.extend_from_slice(&tag);
        Ok(())
    }

    /// Decrypts a record's body in place and returns the plaintext's length.
    pub(crate) fn open_record(&mut self, body: &mut [u8]) -> Result<usize, RecordError> {
        let length = body
            .len()
            .checked_sub(TAG)
            .ok_or(RecordError::Length(body.len()))?;
        let nonce = self.next_nonce()?;
        let (text, tag) = body.split_at_mut(length);
        self.cipher
            .decrypt_in_place_detached(&nonce, &[], text, (&*tag).into())
            .map_err(|_| RecordError::Decryption)?;
        Ok(length)
    }
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
