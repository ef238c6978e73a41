//! Rules of the house that the compiler does not check.
//!
//! | rule | test |
//! |---|---|
//! | crates import only what lies below them, services never each other | `tests/it/layers.rs` |
//! | decisions import no runtime, database or network library | `tests/it/decisions.rs` |
//! | a file has at most 400 lines, tests aside | `tests/it/lengths.rs` |
//! | a type name that leaves its file is there once | `tests/it/type_names.rs` |
//! | a feature of a library is on because something uses it | `tests/it/features.rs` |
//! | unit tests stand in `foo/tests.rs`, the tests of a crate in `tests/it/` | `tests/it/layout.rs` |
//!
//! Elsewhere: what may not be called is listed with reasons in `.clippy.toml`; licences and libraries that may not be used are
//! in `deny.toml`; `tests/run` runs both, and looks for dependencies that nothing uses.
//!
//! What broke a rule before the rule came is listed in `exceptions`. Such a list only becomes shorter: a test fails on what
//! is not listed, and on a line that is no longer needed; `BOWLINE_SHRINK_EXCEPTIONS=1 cargo test -p bowline-guards` takes
//! such lines out.

mod exceptions;
mod sources;
mod workspace;

pub use exceptions::assert_only_listed;
pub use sources::{Source, production_sources};
pub use workspace::{Crate, Dependency, crates, root};
