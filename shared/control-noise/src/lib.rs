//! The Noise transport of current clients: handshake, records, and a byte stream over them.
//!
//! ```text
//! client ── initiation (101 bytes, inside an HTTP upgrade) ──▶ Responder::accept
//! client ◀── response (51 bytes) ─────────────────────────────  Accepted::response
//! client ◀═══ records of at most 4096 bytes, both ways ═══════▶ NoiseStream: AsyncRead + AsyncWrite
//! ```
//!
//! `Noise_IK_25519_ChaChaPoly_BLAKE2s` as the standard has it, but for the records: their nonce counter is
//! big-endian (protocol section 4.4). The handshake proves the machine key; what it may do is decided elsewhere.

mod agreement;
mod early;
mod handshake;
mod record;
mod stream;

pub use early::{EARLY_PAYLOAD_SINCE, early_payload};
pub use handshake::{Accepted, HandshakeError, Initiator, Keys, Responder, error_frame};
pub use record::{MAX_PLAINTEXT, RecordError};
pub use stream::NoiseStream;
