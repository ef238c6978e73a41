//! The architecture as tests.
