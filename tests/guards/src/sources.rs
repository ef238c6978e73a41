//! The production code of the repository.

use std::{fs, path::Path};

use crate::root;

/// Folders with production code.
const FOLDERS: [&str; 3] = ["proto", "services", "shared"];
/// Folders inside them whose files are tests.
const TEST_FOLDERS: [&str; 5] = ["tests", "it", "benches", "fuzz", "examples"];

/// A file of production code.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it is, from the root of the repository.
    pub path: String,
    /// Its text up to its tests.
    pub text: String,
}

/// Returns all files of production code, in order.
///
/// # Panics
///
/// When a file can not be read.
#[must_use]
pub fn production_sources() -> Vec<Source> {
    let mut sources = Vec::new();
    for folder in FOLDERS {
        read_folder(&root().join(folder), &mut sources);
    }
    assert!(sources.len() > 100, "the code is not where it was");
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    sources
}

fn read_folder(folder: &Path, sources: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder can be read") {
        let path = entry.expect("a folder can be read").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_dir() {
            if name != "target" && !TEST_FOLDERS.contains(&name) {
                read_folder(&path, sources);
            }
        } else if name.ends_with(".rs") && !is_test_file(name) {
            let text = fs::read_to_string(&path).expect("code is text");
            let path = path.strip_prefix(root()).expect("it lies below the root");
            sources.push(Source {
                path: path.display().to_string(),
                text: before_tests(&text).to_owned(),
            });
        }
    }
}

fn is_test_file(name: &str) -> bool {
    ["test.rs", "tests.rs"].contains(&name)
        || name.ends_with("_test.rs")
        || name.ends_with("_tests.rs")
}

/// Returns what stands before the tests at the end of a file.
fn before_tests(text: &str) -> &str {
    text.find("\n#[cfg(test)]").map_or(text, |at| &text[..=at])
}
