use super::*;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn modes_that_let_others_in_are_set_right() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path();
    fs::create_dir(place.join("tls")).unwrap();
    let files = [
        ("identity.db", 0o644, 0o600),
        ("tls/ca.key", 0o640, 0o600),
        ("tls/ca.pem", 0o644, 0o644),
        ("bowline.toml", 0o644, 0o644),
    ];
    for (name, before, _) in files {
        fs::write(place.join(name), "").unwrap();
        set_mode(&place.join(name), before);
    }
    set_mode(place, 0o755);
    let _held = lock_state_dir(place).unwrap();
    assert_eq!(mode(place), 0o700);
    for (name, _, after) in files {
        assert_eq!(mode(&place.join(name)), after, "{name}");
    }
}

#[test]
fn directory_of_another_account_is_refused_with_words() {
    let directory = tempfile::tempdir().unwrap();
    // Only root can give a directory away.
    if std::os::unix::fs::chown(directory.path(), Some(4711), None).is_err() {
        return;
    }
    let refused = lock_state_dir(directory.path()).unwrap_err().to_string();
    assert!(
        refused.contains("number 4711") && refused.contains("--state-dir"),
        "{refused}"
    );
}
