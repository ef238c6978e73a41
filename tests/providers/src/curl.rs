//! Requests of an administrator's program, by curl.

use std::process::Command;

/// Runs curl, and returns the answer.
pub(crate) fn run_curl(arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--noproxy",
            "*",
        ])
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text} {output:?}");
    text
}
