//! What decides is free of what moves bytes: it can be tested, and read, by itself.

use std::collections::BTreeSet;

use bowline_guards::{assert_only_listed, production_sources};

/// Libraries that do IO or wait.
const IO: [&str; 7] = [
    "tokio", "tonic", "sqlx", "redis", "hyper", "axum", "reqwest",
];
/// Where decisions stand inside services; whole crates of decisions are layer 1, see `layers`.
const DECISIONS: &str = "/src/domain";

#[test]
fn decisions_name_no_library_that_does_io_and_no_clock() {
    let mut found = BTreeSet::new();
    for source in production_sources()
        .iter()
        .filter(|one| one.path.contains(DECISIONS))
    {
        let code = source
            .text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            let library = IO
                .iter()
                .find(|library| line.contains(&format!("{library}::")));
            let clock = [
                "Utc::now",
                "Instant::now",
                "SystemTime::now",
                "random_bytes",
            ];
            let clock = clock.iter().find(|clock| line.contains(**clock));
            let named = library.or(clock);
            found.extend(named.map(|named| format!("{} {named}", source.path)));
        }
    }
    let advice = "modules in `domain` decide: they get what they judge, the time and random bytes as parameters, and name no \
                  library that does IO; move the IO to where they are called from";
    assert_only_listed("decisions", &found, advice);
}
