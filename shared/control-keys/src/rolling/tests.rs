use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _};

use tempfile::TempDir;

use super::*;

/// The public halves of each transport's keys, newest first.
fn halves(directory: &Path) -> [Vec<[u8; 32]>; 2] {
    let keys = ControlKeys::load(directory).unwrap();
    [&keys.noise, &keys.legacy].map(|ring| ring.iter().map(PrivateKey::public_bytes).collect())
}

fn made() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    ControlKeys::create(directory.path()).unwrap();
    directory
}

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    };
    entries.map(read).collect()
}

#[test]
fn newest_becomes_previous_and_is_retired_by_command() {
    let directory = made();
    let directory = directory.path();
    let before = halves(directory);
    ControlKeys::roll(directory).unwrap();
    let rolled = halves(directory);
    for (old, new) in before.iter().zip(&rolled) {
        assert_eq!((new.len(), &new[1]), (2, &old[0]));
        assert_ne!(new[0], old[0]);
    }
    for name in files(directory).keys() {
        let mode = fs::metadata(directory.join(name)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{name}");
    }

    assert!(ControlKeys::retire(directory).unwrap());
    let retired = halves(directory);
    for (rolled, left) in rolled.iter().zip(&retired) {
        assert_eq!(left[..], rolled[..1]);
    }
    assert!(!ControlKeys::retire(directory).unwrap());
    assert_eq!(files(directory).len(), 2);
}

#[test]
fn roll_over_a_previous_key_is_refused_and_changes_nothing() {
    let directory = made();
    let directory = directory.path();
    ControlKeys::roll(directory).unwrap();
    let before = files(directory);
    let refused = ControlKeys::roll(directory).unwrap_err();
    assert!(
        refused.to_string().contains("control-keys retire"),
        "{refused}"
    );
    assert_eq!(files(directory), before);
}

#[test]
fn without_keys_the_command_that_makes_them_is_named() {
    let directory = tempfile::tempdir().unwrap();
    for result in [
        ControlKeys::roll(directory.path()).map(|()| true),
        ControlKeys::retire(directory.path()),
    ] {
        let refused = result.unwrap_err().to_string();
        assert!(refused.contains("control-keys create"), "{refused}");
    }
    assert!(files(directory.path()).is_empty());
}

/// Puts the files back as they were at one of the instants of a roll.
fn interrupted(before: &BTreeMap<String, Vec<u8>>, after: &[(&str, &[u8])]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in before {
        fs::write(directory.path().join(name), text).unwrap();
    }
    for (name, text) in after {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

#[test]
fn roll_that_was_cut_short_anywhere_leaves_keys_to_serve_with_and_is_finished_by_the_next() {
    let directory = made();
    let before = files(directory.path());
    let old = halves(directory.path());
    let text = |name: &str| before[name].as_slice();
    let key = |byte| {
        PrivateKey::from_random([byte; 32])
            .expose_text()
            .to_string()
    };
    let (noise, legacy) = (key(1), key(2));
    let (noise, legacy) = (noise.as_bytes(), legacy.as_bytes());
    let instants: [&[(&str, &[u8])]; 5] = [
        &[("noise.next.key", noise)],
        &[("noise.next.key", noise), ("legacy.next.key", legacy)],
        &[
            ("noise.next.key", noise),
            ("legacy.next.key", legacy),
            ("noise.previous.key", text("noise.key")),
        ],
        &[
            ("legacy.next.key", legacy),
            ("noise.previous.key", text("noise.key")),
            ("noise.key", noise),
        ],
        &[
            ("legacy.next.key", legacy),
            ("noise.previous.key", text("noise.key")),
            ("noise.key", noise),
            ("legacy.previous.key", text("legacy.key")),
        ],
    ];
    for instant in instants {
        let directory = interrupted(&before, instant);
        let directory = directory.path();
        for (ring, old) in halves(directory).iter().zip(&old) {
            assert!(ring.contains(&old[0]), "clients are served: {instant:?}");
        }
        let refused = ControlKeys::retire(directory).unwrap_err();
        assert!(
            refused.to_string().contains("control-keys roll"),
            "{refused}"
        );

        ControlKeys::roll(directory).unwrap();
        for (ring, old) in halves(directory).iter().zip(&old) {
            assert_eq!((ring.len(), &ring[1]), (2, &old[0]), "{instant:?}");
            assert_ne!(ring[0], old[0], "{instant:?}");
        }
        assert_eq!(files(directory).len(), 4, "{instant:?}");
    }
}

#[test]
fn another_servers_key_becomes_the_newest_and_the_one_before_goes_on() {
    let directory = made();
    let directory = directory.path();
    let [before, legacy] = halves(directory);
    let theirs = PrivateKey::from_random([7; 32]);
    assert!(ControlKeys::adopt_noise(directory, &theirs).unwrap());
    let [adopted, kept] = halves(directory);
    assert_eq!(adopted, [theirs.public_bytes(), before[0]]);
    assert_eq!(kept, legacy);
    assert!(!ControlKeys::adopt_noise(directory, &theirs).unwrap());

    let other = PrivateKey::from_random([8; 32]);
    let refused = ControlKeys::adopt_noise(directory, &other);
    assert!(matches!(refused, Err(ControlKeyError::Rolling(_))));
    ControlKeys::retire(directory).unwrap();
    assert!(ControlKeys::adopt_noise(directory, &other).unwrap());
}

#[test]
fn another_servers_key_may_be_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("keys");
    let theirs = PrivateKey::from_random([7; 32]);
    assert!(ControlKeys::adopt_noise(&directory, &theirs).unwrap());
    let [noise, legacy] = halves(&directory);
    assert_eq!(
        (&noise[..], legacy.len()),
        (&[theirs.public_bytes()][..], 1)
    );
}

#[test]
fn taking_over_a_key_is_finished_after_it_was_cut_short() {
    let directory = made();
    let directory = directory.path();
    let [before, _] = halves(directory);
    fs::copy(newest(directory, "noise"), previous(directory, "noise")).unwrap();
    let theirs = PrivateKey::from_random([7; 32]);
    assert!(ControlKeys::adopt_noise(directory, &theirs).unwrap());
    assert_eq!(halves(directory)[0], [theirs.public_bytes(), before[0]]);
}
