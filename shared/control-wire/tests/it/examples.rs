//! The examples of the README are messages as this crate reads and writes them.

use bowline_control_wire::MapResponse;
use serde_json::Value;

const README: &str = include_str!("../../README.md");

/// Returns the fenced blocks of the README with this label.
fn labelled_blocks(label: &str) -> Vec<&'static str> {
    let fence = format!("```{label}\n");
    let begun = README.split(&fence).skip(1);
    begun
        .map(|text| text.split("```").next().expect("a fence that is closed"))
        .collect()
}

#[test]
fn map_responses_of_the_readme_are_spelled_as_they_are_written() {
    let examples = labelled_blocks("json MapResponse");
    assert_eq!(examples.len(), 3);
    for example in examples {
        let value: Value = serde_json::from_str(example).expect("JSON");
        let message: MapResponse = serde_json::from_str(example).expect("a map response");
        let written = serde_json::to_value(&message).expect("what is read can be written");
        assert_eq!(written, value, "a member is spelled otherwise, or left out");
    }
}
