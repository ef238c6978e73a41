//! What comments cite is there: "policy section 4.2" in the README of `shared/policy`, "protocol section 5.1" in that
//! of `shared/control-wire`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The word before "section", and the page it stands for.
const PAGES: [(&str, &str); 2] = [
    ("policy", "shared/policy/README.md"),
    ("protocol", "shared/control-wire/README.md"),
];

/// What holds comments.
const KINDS: [&str; 6] = ["md", "proto", "rs", "sql", "toml", "yml"];

/// This file has citations in a test of its own.
const OWN_FILE: &str = "tests/conformance/tests/it/citations.rs";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the files of a folder that may cite, without what is built or hidden.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap_or_default();
        if path.is_dir() {
            if name != "target" && (name == ".github" || !name.starts_with('.')) {
                files(&path, found);
            }
        } else if path
            .extension()
            .is_some_and(|kind| KINDS.iter().any(|known| kind == *known))
        {
            found.push(path);
        }
    }
}

/// Returns the words of a text without the marks of comments, so that a citation may go on in the next line.
fn words(text: &str) -> Vec<&str> {
    let lines = text.lines().map(|line| {
        let line = line.trim_start();
        let marks = ["///", "//!", "//", "--", "#"];
        let mark = marks.iter().find(|mark| line.starts_with(**mark));
        line.strip_prefix(*mark.unwrap_or(&"")).unwrap_or(line)
    });
    lines.flat_map(str::split_whitespace).collect()
}

/// Reads the number of a section; what follows it in a sentence is left out.
fn number(word: &str) -> Option<&str> {
    let end = word.find(|c: char| c != '.' && !c.is_ascii_digit());
    let number = word[..end.unwrap_or(word.len())].trim_end_matches('.');
    number
        .starts_with(|c: char| c.is_ascii_digit())
        .then_some(number)
}

/// Returns what a text cites: the word before "section" and the numbers after it.
fn citations(text: &str) -> Vec<(&str, Vec<&str>)> {
    let words = words(text);
    let mut found = Vec::new();
    for at in 0..words.len().saturating_sub(1) {
        if !["section", "sections"].contains(&words[at]) {
            continue;
        }
        let listed = words[at + 1..].iter().copied();
        let numbers: Vec<_> = listed
            .filter(|word| !["and", "to"].contains(word))
            .map_while(number)
            .collect();
        let before = at.checked_sub(1).map_or("", |before| words[before]);
        if !numbers.is_empty() {
            found.push((before.trim_start_matches(['(', '"']), numbers));
        }
    }
    found
}

/// Returns the numbers of a page's headings.
fn headings(page: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(root().join(page)).unwrap_or_default();
    let headings = text
        .lines()
        .filter(|line| line.starts_with("##"))
        .filter_map(|line| number(line.trim_start_matches('#').trim_start()));
    headings.map(str::to_owned).collect()
}

#[test]
fn every_section_that_is_cited_exists() {
    let mut paths = Vec::new();
    files(&root(), &mut paths);
    let mut cited = 0;
    let mut wrong = Vec::new();
    for path in &paths {
        let text = fs::read_to_string(path).unwrap();
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
        if name == OWN_FILE {
            continue;
        }
        for (before, numbers) in citations(&text) {
            let said = format!("{name}: {before} section {}", numbers.join(", "));
            let own = PAGES.iter().find(|(_, page)| *page == name);
            let Some((_, page)) = PAGES.iter().find(|(word, _)| *word == before).or(own) else {
                // "RFC 7748 section 6.1" names its page by a number.
                if !before.starts_with(|c: char| c.is_ascii_digit()) {
                    wrong.push(format!("{said}: of which page?"));
                }
                continue;
            };
            let headings = headings(page);
            cited += numbers.len();
            let missing = numbers.iter().filter(|number| !headings.contains(**number));
            wrong.extend(missing.map(|number| format!("{said}: {page} has no section {number}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cited > 100, "only {cited} were found");
}

#[test]
fn citations_are_read_across_lines() {
    let text = "/// Does it (policy\n/// sections 7 to 10, 13.2 and 14.1). See RFC 7748 section 6.1.\n// That section decides.";
    assert_eq!(
        citations(text),
        [
            ("policy", vec!["7", "10", "13.2", "14.1"]),
            ("7748", vec!["6.1"])
        ]
    );
}
