//! Operators find every metric in `deploy/README.md`, and no other.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Returns the names of metrics that follow one of these marks in a text.
fn metrics_after(marks: &[&str], text: &str) -> BTreeSet<String> {
    let is_name = |character: char| character.is_ascii_lowercase() || character == '_';
    let found = marks.iter().flat_map(|mark| text.split(mark).skip(1));
    found
        .filter(|rest| rest.starts_with("bowline_"))
        .map(|rest| {
            rest.chars()
                .take_while(|&character| is_name(character))
                .collect()
        })
        .collect()
}

/// Returns the program files below a directory, tests left out.
fn program_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str());
        match name.unwrap_or_default() {
            "tests" | "tests.rs" | "benches" | "target" => {}
            _ if path.is_dir() => files.extend(program_files(&path)),
            name if name.ends_with(".rs") => files.push(path),
            _ => {}
        }
    }
    files
}

#[test]
fn every_metric_is_explained_to_operators() {
    let marks = ["counter!(\"", "gauge!(\"", "histogram!(\""];
    let mut counted = BTreeSet::new();
    for part in ["services", "shared"] {
        for file in program_files(&Path::new(ROOT).join(part)) {
            let text = fs::read_to_string(file).expect("a program");
            counted.extend(metrics_after(&marks, &text));
        }
    }
    counted.retain(|name| !name.starts_with("bowline_test_"));
    let readme = fs::read_to_string(Path::new(ROOT).join("deploy/README.md")).expect("the README");
    let rows = readme
        .lines()
        .filter(|line| line.starts_with("| `bowline_"));
    let explained = rows.flat_map(|row| metrics_after(&["`"], row)).collect();
    assert_eq!(counted, explained);
}
