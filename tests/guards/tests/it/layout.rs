//! Tests are found where a reader expects them.

use std::{collections::BTreeSet, fs, path::Path};

use bowline_guards::{assert_only_listed, crates, root};

/// Calls `visit` with each file of code below a folder, and its path from the root.
fn visit_code(folder: &Path, visit: &mut impl FnMut(&str, &str)) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            visit_code(&path, visit);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("code is text");
            let path = path.strip_prefix(root()).expect("it lies below the root");
            visit(&path.display().to_string(), &text);
        }
    }
}

#[test]
fn unit_tests_have_a_file_of_their_own() {
    let mut found = BTreeSet::new();
    for one in crates() {
        visit_code(&root().join(&one.folder).join("src"), &mut |path, text| {
            if text
                .lines()
                .any(|line| line.starts_with("mod tests") && line.ends_with('{'))
            {
                found.insert(path.to_owned());
            }
        });
    }
    let advice = "the tests of `foo.rs` stand in `foo/tests.rs`, those of a crate's root in `src/tests.rs`; move them";
    assert_only_listed("inline_tests", &found, advice);
}

#[test]
fn tests_of_a_crate_are_one_program() {
    let mut found = BTreeSet::new();
    for one in crates() {
        let entries = fs::read_dir(root().join(&one.folder).join("tests"));
        for path in entries
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
        {
            if path.extension().is_some_and(|ending| ending == "rs") {
                let path = path.strip_prefix(root()).expect("it lies below the root");
                found.insert(path.display().to_string());
            }
        }
    }
    let advice = "each file beside `tests/it/` would be linked into a program of its own: move it into that folder, as a \
                  module of `tests/it/main.rs`";
    assert_only_listed("test_programs", &found, advice);
}
