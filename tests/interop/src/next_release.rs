//! The next release, which services are upgraded to.

use std::path::PathBuf;

/// The services in the order in which they are upgraded.
pub const UPGRADE_ORDER: [&str; 6] = [
    "identity",
    "key-registry",
    "policy-compiler",
    "relay",
    "gateway-1",
    "gateway-2",
];

/// Returns where the programs of the next release are, if `tests/run --all` has built them.
#[must_use]
pub fn find_next_release() -> Option<PathBuf> {
    std::env::var_os("TEST_NEXT_RELEASE").map(PathBuf::from)
}
