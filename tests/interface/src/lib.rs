//! Every name that is seen from outside, kept as text in `snapshots`: who renames something inside learns from a test
//! what of it leaves the house.
//!
//! | snapshot | what | made by |
//! |---|---|---|
//! | `commands` | commands, arguments, flags and their variables | `services/cli/tests/it/help.rs` |
//! | `help` | the whole text of `bowline … --help` | the same |
//! | `answers` | the shape of every answer with `--output json` | `services/cli/tests/it/answers.rs` |
//! | `settings` | keys of the settings files, and their variables | `tests/it/settings.rs` |
//! | `contracts` | messages, fields, RPCs and their callers | `tests/it/contracts.rs` |
//! | `migrations` | names and checksums of all schema steps | `tests/it/migrations.rs` |
//! | `metrics`, `audit_actions`, `error_reasons`, `http_paths` | as they stand in the code | `tests/it/sources.rs` |
//!
//! A test that fails prints what differs. Take a rename back unless it is meant to be seen. A change that is meant, such
//! as a new flag or field, is accepted by `INSTA_UPDATE=always` and the name of the test, and committed with its snapshot:
//!
//! ```text
//! INSTA_UPDATE=always cargo test -p bowline-interface -p bowline-cli interface
//! ```
//!
//! Names are only added: programs and people use those that are there. A migration that was released is never changed.

mod shape;

pub use shape::Shape;

/// How a change is accepted; shown beside each difference.
const ACCEPT: &str = "names that are seen from outside; a change that is meant is accepted by \
     `INSTA_UPDATE=always cargo test -p bowline-interface -p bowline-cli interface`";

/// Compares a text with the snapshot of this name.
///
/// # Panics
///
/// When they differ, with the lines that do.
pub fn assert_unchanged(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_description(ACCEPT);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
