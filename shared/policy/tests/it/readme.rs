//! The documents in the README are read, and pass their own tests, before anybody has joined.

use std::collections::{BTreeMap, BTreeSet};

use bowline_policy::{Inventory, check_document};

const README: &str = include_str!("../../README.md");

#[test]
fn the_documents_of_the_readme_hold() {
    let (users, nodes) = (BTreeMap::new(), BTreeMap::new());
    let mut found = 0;
    for part in README.split("```hujson\n").skip(1) {
        let (document, _) = part.split_once("```").unwrap();
        let inventory = Inventory {
            users: &users,
            nodes: &nodes,
            groups: &BTreeSet::new(),
            in_force: None,
        };
        let verdict = check_document(document, Some(inventory));
        assert_eq!(verdict.problems, [], "{document}");
        assert_eq!(verdict.warnings, [], "{document}");
        found += 1;
    }
    assert!(found > 10, "{found}");
}
