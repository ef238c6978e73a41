//! Custom attributes at the command line.

use std::process::Output;

use bowline_test_deployments::{Deployment as _, OneProcess};
use serde_json::json;

use crate::joined_device::{join, prepare_tailnet};

/// A server with two devices.
struct TwoLaptops {
    server: OneProcess,
    _place: tempfile::TempDir,
}

impl TwoLaptops {
    fn start() -> Self {
        let place = tempfile::tempdir().unwrap();
        let server = OneProcess::start(place.path(), "http").unwrap();
        prepare_tailnet(&server);
        for name in ["laptop", "other"] {
            join(&server, server.address(), name);
        }
        Self {
            server,
            _place: place,
        }
    }

    /// Runs a command of attributes, for people.
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.server.command().unwrap();
        command.arg("attributes").args(arguments).output().unwrap()
    }

    /// Runs one that succeeds, and returns its lines without the spaces that align them.
    fn lines(&self, arguments: &[&str]) -> Vec<String> {
        let output = self.run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {said}");
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            words.join(" ")
        });
        lines.collect()
    }
}

#[test]
fn attributes_are_set_listed_and_removed() {
    let test = TwoLaptops::start();
    assert_eq!(test.lines(&["list"]), ["nothing"]);
    let set = ["set", "laptop", "custom:tier=gold", "custom:level=3.5"];
    let shown = test.lines(&[&set[..], &["--comment", "ticket 7"]].concat());
    let expected = [
        "NODE ATTRIBUTE VALUE ENDS COMMENT",
        "laptop custom:level 3.5 ticket 7",
        "laptop custom:tier gold ticket 7",
    ];
    assert_eq!(shown, expected);
    let far = "2099-12-31T12:00:00Z";
    test.lines(&["set", "other", "custom:level=7", "--expires", far]);
    let typed = ["set", "other", "custom:tier=7", "--type", "string"];
    test.lines(&typed);
    let expected = [
        "NODE ATTRIBUTE VALUE ENDS COMMENT",
        "laptop custom:level 3.5 ticket 7",
        "laptop custom:tier gold ticket 7",
        "other custom:level 7 2099-12-31T12:00:00Z",
        "other custom:tier 7",
    ];
    assert_eq!(test.lines(&["list"]), expected);
    let shown = test.server.bowline(&["nodes", "show", "other"]).unwrap();
    let level = json!({ "name": "custom:level", "value": 7, "expires_at": far, "comment": "" });
    let tier = json!({ "name": "custom:tier", "value": "7", "expires_at": null, "comment": "" });
    assert_eq!(shown["attributes"], json!([level, tier]));
    // What was said of an attribute is replaced with its value.
    test.lines(&["set", "laptop", "custom:level=4"]);
    let left = test.lines(&["remove", "laptop", "custom:tier", "custom:unknown"]);
    assert_eq!(left[1..], ["laptop custom:level 4"]);
    let none = test.lines(&["remove", "laptop", "custom:level"]);
    assert_eq!(none, ["nothing"]);
}

#[test]
fn what_can_not_be_set_is_refused_in_words() {
    let test = TwoLaptops::start();
    test.lines(&["set", "other", "custom:level=7"]);
    for (arguments, code, words) in [
        (
            &["set", "laptop", "custom:level=high"][..],
            4,
            "custom:level is a number at other, and can not be a string",
        ),
        (
            &["set", "laptop", "level=7"],
            1,
            "\"level\" is none: custom: and",
        ),
        (
            &["set", "laptop", "custom:level"],
            2,
            "such as custom:tier=gold",
        ),
        (
            &["set", "laptop", "custom:level=7", "--expires", "soon"],
            2,
            "nor a time such as",
        ),
        (
            &[
                "set",
                "laptop",
                "custom:level=7",
                "--expires",
                "2020-01-31T12:00:00Z",
            ],
            1,
            "lies in the past",
        ),
        (
            &["set", "laptop", "custom:level=x", "--type", "number"],
            1,
            "\"x\" is no number",
        ),
        (
            &["set", "nobody", "custom:level=7"],
            3,
            "there is no node \"nobody\"",
        ),
        (&["remove", "laptop", "level"], 1, "\"level\" is none"),
        (&["remove", "laptop"], 2, "required"),
    ] {
        let output = test.run(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    }
    assert_eq!(test.lines(&["list"])[1..], ["other custom:level 7"]);
}
