//! The networks of tests themselves.

use std::process::{Command, Stdio};

use bowline_interop::{TestNetwork, sweep, wait_for};

use super::SOON;

fn namespaces() -> String {
    let output = Command::new("ip").args(["netns", "list"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn networks_of_killed_tests_are_removed_with_their_processes() {
    let Some(network) = TestNetwork::new().unwrap() else {
        return;
    };
    let mut killed = Command::new("true").spawn().unwrap();
    killed.wait().unwrap();
    let left = format!("bl{}x0h0", killed.id());
    let host = network.host().unwrap();
    let made = Command::new("ip")
        .args(["netns", "add", &left])
        .status()
        .unwrap();
    assert!(made.success());
    let mut client = Command::new("ip")
        .args(["netns", "exec", &left, "sleep", "1000"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    // Before it is inside, only the namespace would be taken from it.
    wait_for("the process is inside", SOON, || {
        let inside = Command::new("ip").args(["netns", "pids", &left]).output();
        let inside = inside.map_err(|error| error.to_string())?;
        (!inside.stdout.is_empty())
            .then_some(())
            .ok_or_else(|| "nobody".to_owned())
    });
    sweep();
    assert!(!namespaces().contains(&left), "{left} is gone");
    assert!(!client.wait().unwrap().success(), "its process was ended");
    let own = host.command("true").status().unwrap();
    assert!(own.success(), "a living test's network stays");
}
