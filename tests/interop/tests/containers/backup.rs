//! A backup of a stack that runs, and its restore.

use std::{fs, os::unix::fs::PermissionsExt as _};

use bowline_interop::{Client, ComposeStack, wait_for};
use bowline_test_servers::choose_size;

use super::{MINUTE, OWNERS, converges};

/// A backup is taken while everything runs. In full, it is also restored while the gateways run.
pub fn restores_a_backup(stack: &ComposeStack, clients: &[Client]) {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("backup");
    let url = ["--database-file", "/etc/bowline/database-url"];
    let backup = [
        &[
            "exec",
            "-T",
            "identity",
            "/usr/local/bin/bowline",
            "backup",
            "-",
        ][..],
        &url,
    ];
    stack.run_into(&backup.concat(), &file).unwrap();
    if choose_size(0, 1) == 0 {
        return;
    }
    let lost = stack.bowline(&["users", "create", "lost@example.com"]);
    let lost = lost.unwrap()["id"].as_u64().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    stack.run(&[&["stop"], &OWNERS[..]].concat()).unwrap();
    let volume = format!("{}:/backup:ro", file.display());
    let restore = [
        &["run", "--rm", "-T", "--no-deps", "--volume", &volume],
        &["--entrypoint", "/usr/local/bin/bowline", "identity"][..],
        &["restore", "/backup", "--replace"],
        &url,
    ];
    wait_for("the restore", MINUTE, || {
        let restored = stack.run(&restore.concat());
        restored.map_err(|error| error.to_string())
    });
    stack.run(&[&["start"], &OWNERS[..]].concat()).unwrap();
    converges(stack, clients, "restored");
    let made = stack.bowline(&["users", "create", "new@example.com"]);
    assert!(made.unwrap()["id"].as_u64().unwrap() > lost);
}
