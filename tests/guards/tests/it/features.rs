//! A feature of a library is on because something uses it: each is built by everybody who builds Bowline.

use std::fs;

use bowline_guards::{production_sources, root};

/// What shows that a feature is used: a library, its feature, and a word that code can not do without then.
const SHOWN_BY: [(&str, &str, &str); 18] = [
    ("axum", "form", "Form("),
    ("axum", "json", "Json("),
    ("axum", "matched-path", "MatchedPath"),
    ("axum", "multipart", "Multipart"),
    ("axum", "query", "Query("),
    ("axum", "ws", "WebSocketUpgrade"),
    ("hyper-util", "client-legacy", "client::legacy"),
    ("hyper-util", "server-auto", "conn::auto"),
    ("redis", "connection-manager", "ConnectionManager"),
    ("sqlx", "migrate", "sqlx::migrate"),
    ("tokio", "signal", "signal::unix"),
    ("tokio-util", "codec", "codec"),
    ("tokio-util", "io", "tokio_util::io"),
    ("tokio-util", "rt", "TaskTracker"),
    ("tower", "limit", "tower::limit"),
    ("tower", "load-shed", "load_shed"),
    ("tower", "timeout", "tower::timeout"),
    ("x25519-dalek", "getrandom", "random()"),
];

#[test]
fn features_that_are_on_are_used() {
    let manifest =
        fs::read_to_string(root().join("Cargo.toml")).expect("the manifest of the workspace");
    let sources = production_sources();
    for (library, feature, word) in SHOWN_BY {
        let begin = format!("{library} = {{");
        let line = manifest.lines().find(|line| line.starts_with(&begin));
        let is_on = line.is_some_and(|line| line.contains(&format!("\"{feature}\"")));
        let is_used = sources.iter().any(|source| source.text.contains(word));
        assert!(
            is_used || !is_on,
            "the feature \"{feature}\" of {library} is on in Cargo.toml, and no production code has \"{word}\": take it out, or \
             say here what shows that it is used"
        );
    }
}
