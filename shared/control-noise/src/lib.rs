//! The Noise transport of current clients: handshake, records, and a byte stream over them.
