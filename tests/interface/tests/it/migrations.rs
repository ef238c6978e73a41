//! Schema steps: a database remembers their names, and one that was released is never edited.

use std::fs;

use bowline_interface::assert_unchanged;
use sha2::{Digest as _, Sha256};

use crate::{files_below, root};

#[test]
fn interface_of_migrations_is_unchanged() {
    let root = root();
    let mut text = String::new();
    for area in ["services", "shared"] {
        for path in files_below(&root.join(area), ".sql") {
            let sum = hex::encode(Sha256::digest(fs::read(&path).unwrap()));
            let place = path.strip_prefix(&root).unwrap().display();
            text.push_str(&format!("{sum}  {place}\n"));
        }
    }
    assert_unchanged("migrations", &text);
}
