//! A second factor: one-time codes.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;

/// The secret of the person who has one.
pub const OTP_SECRET: &str = "secret-of-one-time-codes";

/// Returns the code of this half minute (RFC 6238, SHA-1, six digits).
#[must_use]
pub fn one_time_code() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let counter = (now.as_secs() / 30).to_be_bytes();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, OTP_SECRET.as_bytes());
    let tag = hmac::sign(&key, &counter);
    let tag = tag.as_ref();
    let at = usize::from(tag[19] & 0xf);
    let number = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}
