//! Ed25519, as each kind of signature is checked by clients.
//!
//! There are signatures on which implementations disagree (points of small order, other encodings of a point). Clients
//! check those of trusted keys by ZIP-215 and those of rotation keys as RFC 8032 has it without the cofactor. So does the
//! server: what it lets in, every client lets in.

/// Checks the signature of a trusted key.
pub(crate) fn is_signed_by_trusted(key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    let Ok(signature) = ed25519_zebra::Signature::try_from(signature) else {
        return false;
    };
    let key = ed25519_zebra::VerificationKey::try_from(*key);
    key.is_ok_and(|key| key.verify(&signature, message).is_ok())
}

/// Checks the signature of a rotation key.
pub(crate) fn is_signed_by_rotation(key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    use ed25519_dalek::Verifier as _;
    let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else {
        return false;
    };
    let key = ed25519_dalek::VerifyingKey::from_bytes(key);
    key.is_ok_and(|key| key.verify(message, &signature).is_ok())
}

#[cfg(test)]
mod tests;
