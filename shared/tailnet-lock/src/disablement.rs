//! What is kept of a disablement secret.

use argon2::{Algorithm, Argon2, Params, Version};

const SALT: &[u8] = b"tailscale network-lock disablement salt";
const KIB: u32 = 16 * 1024;
const PASSES: u32 = 4;
const LANES: u32 = 4;
/// The length of a disablement value.
pub(crate) const LENGTH: usize = 32;

/// Derives the public value of a disablement secret. It takes 16 MiB and some hundredths of a second; `None` for a secret
/// longer than the function takes.
#[must_use]
pub fn derive_disablement_value(secret: &[u8]) -> Option<[u8; LENGTH]> {
    let params = Params::new(KIB, PASSES, LANES, Some(LENGTH)).ok()?;
    let mut value = [0; LENGTH];
    Argon2::new(Algorithm::Argon2i, Version::V0x13, params)
        .hash_password_into(secret, SALT, &mut value)
        .ok()?;
    Some(value)
}
