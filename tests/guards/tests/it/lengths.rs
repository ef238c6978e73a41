//! A file can be read in one go.

use bowline_guards::{assert_only_listed, production_sources};

/// The most lines of a file, tests aside.
const LONGEST: usize = 400;

#[test]
fn files_have_at_most_400_lines_without_their_tests() {
    let sources = production_sources();
    let long = sources
        .iter()
        .filter(|one| one.text.lines().count() > LONGEST);
    let found = long.map(|one| one.path.clone()).collect();
    let advice = "these files have more than 400 lines, tests aside; move a part that has a name of its own into a file of its \
                  own";
    assert_only_listed("long_files", &found, advice);
}
