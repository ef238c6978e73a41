//! The repository's pages say what is there: every metric is explained to operators, and every link leads to a file.

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

/// Returns the files below a directory with an ending, but for what has one of these names.
fn files(directory: &Path, ending: &str, but: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str());
        match name.unwrap_or_default() {
            name if but.contains(&name) => {}
            _ if path.is_dir() => found.extend(files(&path, ending, but)),
            name if name.ends_with(ending) => found.push(path),
            _ => {}
        }
    }
    found
}

#[test]
fn every_metric_is_explained_to_operators() {
    let marks = ["counter!(\"", "gauge!(\"", "histogram!(\""];
    let mut counted = BTreeSet::new();
    for part in ["services", "shared"] {
        let tests = ["tests", "tests.rs", "benches", "target"];
        for file in files(&Path::new(ROOT).join(part), ".rs", &tests) {
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

#[test]
fn links_between_pages_and_to_code_lead_to_files() {
    let pages = files(Path::new(ROOT), ".md", &["target", "node_modules", ".git"]);
    assert!(pages.len() > 5, "the pages are found");
    for page in pages {
        let text = fs::read_to_string(&page).expect("a page");
        let directory = page.parent().expect("a directory");
        for link in text.split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap_or_default();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let is_there = directory.join(target).exists();
            assert!(is_there, "{}: {target} is not there", page.display());
        }
    }
}
