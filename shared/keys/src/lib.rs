//! The kinds of Curve25519 key in the client protocol, and their text forms.
