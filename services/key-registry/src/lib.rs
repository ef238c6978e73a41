//! Which keys exist, whom they belong to, and until when.
