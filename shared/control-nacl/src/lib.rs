//! The crypto_box transport of older clients.
