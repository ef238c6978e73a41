//! A type name says what it is, wherever it is read: a search finds one type.

use std::collections::{BTreeMap, BTreeSet};

use bowline_guards::{assert_only_listed, production_sources};

#[test]
fn type_names_stand_in_one_file_each() {
    let mut files: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in production_sources() {
        for name in source.text.lines().filter_map(type_name) {
            files
                .entry(name.to_owned())
                .or_default()
                .insert(source.path.clone());
        }
    }
    let repeated = files.into_iter().filter(|(_, paths)| paths.len() > 1);
    let mut places = String::new();
    let mut found = BTreeSet::new();
    for (name, paths) in repeated {
        let paths: Vec<_> = paths.into_iter().collect();
        places.push_str(&format!("\n  {name}: {}", paths.join(", ")));
        found.insert(name);
    }
    let advice = format!(
        "a type name is there once in the workspace, so that it says what it is wherever it is read (`NodeRow`, not `Row`); \
         names in several files are:{places}\nrename those that are new"
    );
    assert_only_listed("type_names", &found, &advice);
}

/// Returns the name of the type that a line at the outermost level declares.
fn type_name(line: &str) -> Option<&str> {
    let visible = line
        .strip_prefix("pub")
        .map(|rest| match rest.strip_prefix('(') {
            Some(limited) => limited.split_once(')').map_or(rest, |(_, rest)| rest),
            None => rest,
        });
    let declaration = visible.map_or(line, str::trim_start);
    let kinds = ["struct ", "enum ", "trait ", "type "];
    let rest = kinds
        .iter()
        .find_map(|kind| declaration.strip_prefix(kind))?;
    let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let name = &rest[..end.unwrap_or(rest.len())];
    // One letter is a type parameter's name.
    (name.len() > 1 && name.starts_with(|letter: char| letter.is_ascii_uppercase())).then_some(name)
}

#[test]
fn declarations_are_found_as_they_are_written() {
    for (line, name) in [
        ("pub struct NodeRow {", Some("NodeRow")),
        ("pub(crate) enum Verdict<'a> {", Some("Verdict")),
        ("trait Decide: Send {", Some("Decide")),
        ("type Answer = u64;", Some("Answer")),
        ("    type Error = Infallible;", None),
        ("pub type_name: String,", None),
        ("pub fn structure() {", None),
    ] {
        assert_eq!(type_name(line), name, "{line}");
    }
}
