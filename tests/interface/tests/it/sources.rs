//! Names that only the code has: it is read as tokens.

use std::collections::BTreeSet;

use bowline_interface::assert_unchanged;
use proc_macro2::{Delimiter, Group, TokenTree};

use crate::tokens::{each_run, is_mark, text, texts};

const EVERYTHING: [&str; 2] = ["services", "shared"];
/// Who keeps an audit trail.
const OWNERS: [&str; 3] = [
    "services/identity",
    "services/key-registry",
    "services/policy-compiler",
];

#[test]
fn interface_of_metrics_is_unchanged() {
    let mut found = BTreeSet::new();
    each_run(&EVERYTHING, &mut |run| {
        for window in run.windows(3) {
            if let [TokenTree::Ident(kind), mark, TokenTree::Group(arguments)] = window
                && is_mark(mark, '!')
                && ["counter", "gauge", "histogram"]
                    .iter()
                    .any(|known| kind == known)
            {
                found.insert(format!("{} {kind}", metric(arguments)));
            }
        }
    });
    assert_lines("metrics", &found);
}

/// Returns the name of a metric and the names of its labels.
fn metric(arguments: &Group) -> String {
    let tokens: Vec<_> = arguments.stream().into_iter().collect();
    let name = tokens.first().and_then(text);
    let name = name.unwrap_or_else(|| panic!("a metric without a name in place: {arguments}"));
    let labels = tokens.windows(2).filter(|pair| is_mark(&pair[1], '='));
    let labels: Vec<_> = labels.filter_map(|pair| text(&pair[0])).collect();
    if labels.is_empty() {
        name
    } else {
        format!("{name}{{{}}}", labels.join(","))
    }
}

#[test]
fn interface_of_audit_actions_is_unchanged() {
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .chars()
                .all(|letter| letter.is_ascii_lowercase() || letter == '_')
    };
    let is_action = |text: &String| {
        let words = text.split_once('.');
        words.is_some_and(|(noun, verb)| is_word(noun) && is_word(verb))
    };
    let mut found = BTreeSet::new();
    each_run(&OWNERS, &mut |run| {
        found.extend(run.iter().filter_map(text).filter(is_action));
    });
    assert_lines("audit_actions", &found);
}

#[test]
fn interface_of_error_reasons_is_unchanged() {
    let mut found = BTreeSet::new();
    each_run(&EVERYTHING, &mut |run| {
        for (at, pair) in run.windows(2).enumerate() {
            let names = pair.iter().map(ToString::to_string).collect::<Vec<_>>();
            if names != ["fn", "reason"] {
                continue;
            }
            let body = run[at..].iter().find_map(|token| match token {
                TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(group),
                _ => None,
            });
            found.extend(body.map(texts).unwrap_or_default());
        }
    });
    assert_lines("error_reasons", &found);
}

#[test]
fn interface_of_http_paths_is_unchanged() {
    let mut found = BTreeSet::new();
    each_run(&EVERYTHING, &mut |run| {
        for pair in run.windows(2) {
            if let [TokenTree::Ident(name), TokenTree::Group(arguments)] = pair
                && name == "route"
            {
                let first = arguments.stream().into_iter().next();
                found.extend(first.as_ref().and_then(text));
            }
        }
    });
    assert_lines("http_paths", &found);
}

fn assert_lines(name: &str, found: &BTreeSet<String>) {
    assert!(!found.is_empty(), "nothing was found: {name}");
    let lines: Vec<_> = found.iter().map(String::as_str).collect();
    assert_unchanged(name, &lines.join("\n"));
}
