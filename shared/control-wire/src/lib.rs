//! The JSON and the framing that a client speaks; nothing here decides anything.
