//! What killed tests leave behind: their namespaces, and the processes in them.

use std::{path::Path, process::Command};

/// Ends the processes in networks of test processes that are no more, and removes those networks.
///
/// Labs of living test processes are left alone.
pub fn sweep() {
    let Ok(output) = Command::new("ip").args(["netns", "list"]).output() else {
        return;
    };
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    let left = names
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| maker(name).is_some_and(|pid| !Path::new("/proc").join(pid).exists()));
    for namespace in left {
        println!("left behind by a killed test, removed: {namespace}");
        if let Ok(pids) = Command::new("ip")
            .args(["netns", "pids", namespace])
            .output()
        {
            let pids = String::from_utf8_lossy(&pids.stdout).into_owned();
            let mut kill = Command::new("kill");
            kill.arg("-9").args(pids.split_whitespace());
            drop(kill.output());
        }
        drop(
            Command::new("ip")
                .args(["netns", "del", namespace])
                .output(),
        );
    }
}

/// Returns the process that a namespace is named after: `bl<process>x<network>…`.
fn maker(namespace: &str) -> Option<&str> {
    let (pid, rest) = namespace.strip_prefix("bl")?.split_once('x')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = rest.find(|byte: char| !byte.is_ascii_digit())?;
    (is_number(pid) && is_number(&rest[..number])).then_some(pid)
}
