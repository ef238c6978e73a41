//! Lists of what broke a rule before the rule came.

use std::{collections::BTreeSet, env, fs};

use crate::root;

/// Compares what breaks a rule with `exceptions/NAME.txt`: one each line, `#` begins a comment.
///
/// `what_to_do` tells somebody who breaks the rule how to keep it. With `BOWLINE_SHRINK_EXCEPTIONS` set, lines that are no longer
/// needed are taken out of the list; none is ever added.
///
/// # Panics
///
/// When something breaks the rule that is not listed, or when a line of the list is no longer needed.
pub fn assert_only_listed(name: &str, found: &BTreeSet<String>, what_to_do: &str) {
    let file = format!("tests/guards/exceptions/{name}.txt");
    let text = fs::read_to_string(root().join(&file)).unwrap_or_default();
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let listed: BTreeSet<_> = lines.map(str::to_owned).collect();
    let new: Vec<_> = found.difference(&listed).cloned().collect();
    assert!(new.is_empty(), "{what_to_do}:\n  {}", new.join("\n  "));
    let unneeded: Vec<_> = listed.difference(found).cloned().collect();
    #[expect(
        clippy::disallowed_methods,
        reason = "this is how a person asks for it"
    )]
    let may_shrink = env::var_os("BOWLINE_SHRINK_EXCEPTIONS").is_some();
    if may_shrink && !unneeded.is_empty() {
        let kept = text
            .lines()
            .filter(|line| !unneeded.iter().any(|gone| gone == line));
        let kept: String = kept.flat_map(|line| [line, "\n"]).collect();
        fs::write(root().join(&file), kept).expect("the list can be written");
        return;
    }
    assert!(
        unneeded.is_empty(),
        "well done: these keep the rule now, take their lines out of {file}, or run this with BOWLINE_SHRINK_EXCEPTIONS=1:\n  {}",
        unneeded.join("\n  ")
    );
}
