use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _};

use tempfile::TempDir;

use super::*;
use crate::{ControlKeyInfo, files::interruption};

/// What can be done with a directory.
type Command = fn(&Path) -> Result<(), ControlKeyError>;

const PREPARE: Command = ControlKeys::prepare;
const ACTIVATE: Command = ControlKeys::activate;
const DROP_PREPARED: Command = |directory| ControlKeys::drop_prepared(directory).map(drop);
const RETIRE: Command = |directory| ControlKeys::retire(directory).map(drop);

fn made() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    ControlKeys::create(directory.path()).unwrap();
    directory
}

fn keys(directory: &Path) -> Vec<ControlKeyInfo> {
    ControlKeys::load(directory).unwrap().describe()
}

/// The states of both transports' keys, which are alike.
fn states(directory: &Path) -> Vec<ControlKeyState> {
    let keys = keys(directory);
    let of = |transport| {
        let keys = keys.iter().filter(move |key| key.transport == transport);
        keys.map(|key| key.state).collect::<Vec<_>>()
    };
    assert_eq!(of(ControlTransport::Noise), of(ControlTransport::Legacy));
    of(ControlTransport::Noise)
}

/// The public halves in a state, of each transport.
fn halves(directory: &Path, state: ControlKeyState) -> Vec<ControlKeyInfo> {
    let mut found = keys(directory);
    found.retain(|key| key.state == state);
    found
}

fn publics(keys: &[ControlKeyInfo]) -> Vec<String> {
    keys.iter().map(|key| key.public.to_string()).collect()
}

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    };
    entries.map(read).collect()
}

fn copy(files: &BTreeMap<String, Vec<u8>>) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

#[test]
fn key_is_prepared_then_active_then_old_then_gone() {
    use ControlKeyState::{Active, Old, Prepared};
    let directory = made();
    let directory = directory.path();
    let first = halves(directory, Active);
    PREPARE(directory).unwrap();
    assert_eq!(states(directory), [Active, Prepared]);
    assert_eq!(halves(directory, Active), first, "it is not offered");
    let next = halves(directory, Prepared);
    assert_ne!(publics(&next), publics(&first));
    PREPARE(directory).unwrap();
    assert_eq!(halves(directory, Prepared), next, "it stays the same");

    ACTIVATE(directory).unwrap();
    assert_eq!(states(directory), [Active, Old]);
    assert_eq!(publics(&halves(directory, Active)), publics(&next));
    assert_eq!(publics(&halves(directory, Old)), publics(&first));
    for name in files(directory).keys() {
        let mode = fs::metadata(directory.join(name)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{name}");
    }

    assert!(ControlKeys::retire(directory).unwrap());
    assert_eq!(states(directory), [Active]);
    assert_eq!(publics(&halves(directory, Active)), publics(&next));
    assert!(!ControlKeys::retire(directory).unwrap());
    assert_eq!(files(directory).len(), 2);
}

#[test]
fn prepared_key_can_be_taken_back_until_it_is_active() {
    let directory = made();
    let directory = directory.path();
    let before = files(directory);
    assert!(!ControlKeys::drop_prepared(directory).unwrap());
    PREPARE(directory).unwrap();
    assert!(ControlKeys::drop_prepared(directory).unwrap());
    assert_eq!(files(directory), before);
    PREPARE(directory).unwrap();
    ACTIVATE(directory).unwrap();
    let after = files(directory);
    assert!(!ControlKeys::drop_prepared(directory).unwrap());
    assert_eq!(files(directory), after);
}

#[test]
fn what_is_not_its_turn_is_refused_with_the_command_that_is_and_changes_nothing() {
    let directory = made();
    let directory = directory.path();
    let refuse = |command: Command, named: &str| {
        let before = files(directory);
        let refused = command(directory).unwrap_err().to_string();
        assert!(refused.contains(named), "{refused}");
        assert_eq!(files(directory), before);
    };
    refuse(ACTIVATE, "control-keys prepare");
    PREPARE(directory).unwrap();
    ACTIVATE(directory).unwrap();
    refuse(ACTIVATE, "control-keys prepare");
    refuse(PREPARE, "control-keys retire");

    let empty = tempfile::tempdir().unwrap();
    for command in [PREPARE, ACTIVATE, DROP_PREPARED, RETIRE] {
        let refused = command(empty.path()).unwrap_err().to_string();
        assert!(refused.contains("control-keys create"), "{refused}");
    }
    assert!(files(empty.path()).is_empty());
}

/// Runs a command again and again on copies of a directory, each time for one step more before it is cut short, and then once
/// more, whole; returns how often it was cut short.
fn interrupt(command: Command, before: &Path, is_served: impl Fn(&Path)) -> usize {
    let before = files(before);
    for steps in 0.. {
        let directory = copy(&before);
        interruption::allow_steps(steps);
        let ended = command(directory.path());
        interruption::allow_steps(usize::MAX);
        is_served(directory.path());
        if ended.is_ok() {
            return steps;
        }
        command(directory.path()).unwrap();
        is_served(directory.path());
    }
    unreachable!("it ends after some steps")
}

#[test]
fn command_that_is_cut_short_anywhere_leaves_keys_to_serve_with_and_is_finished_by_the_next() {
    let directory = made();
    let directory = directory.path();
    let first = publics(&keys(directory));
    // Clients hold the active keys of before; those that were offered another must be able to use it as well.
    let serves = |directory: &Path, held: &[String]| {
        let public = publics(&keys(directory));
        for held in held {
            assert!(public.contains(held), "{held} of {public:?}");
        }
    };
    let steps = interrupt(PREPARE, directory, |at| serves(at, &first));
    assert_eq!(steps, 4, "two files are written and moved");

    PREPARE(directory).unwrap();
    let both = publics(&keys(directory));
    assert_eq!(both.len(), 4);
    let steps = interrupt(DROP_PREPARED, directory, |at| serves(at, &first));
    assert_eq!(steps, 2);
    let steps = interrupt(ACTIVATE, directory, |at| serves(at, &both));
    assert_eq!(
        steps, 6,
        "for each, an old key is written and moved, and a new one moved"
    );

    ACTIVATE(directory).unwrap();
    let offered = publics(&halves(directory, ControlKeyState::Active));
    let steps = interrupt(RETIRE, directory, |at| serves(at, &offered));
    assert_eq!(steps, 2);
}

#[test]
fn an_activation_that_was_cut_short_is_finished_before_anything_else() {
    let directory = made();
    let directory = directory.path();
    PREPARE(directory).unwrap();
    interruption::allow_steps(3);
    ACTIVATE(directory).unwrap_err();
    interruption::allow_steps(usize::MAX);
    let before = files(directory);
    for command in [PREPARE, DROP_PREPARED, RETIRE] {
        let refused = command(directory).unwrap_err().to_string();
        assert!(refused.contains("control-keys activate"), "{refused}");
        assert_eq!(files(directory), before);
    }
    ACTIVATE(directory).unwrap();
    assert_eq!(files(directory).len(), 4);
}

/// The release before knew no prepared keys: its roll made the next keys and put them in place at once.
#[test]
fn roll_of_the_release_before_that_was_cut_short_anywhere_is_finished() {
    let directory = made();
    let before = files(directory.path());
    let old = publics(&keys(directory.path()));
    let text = |name: &str| before[name].as_slice();
    let key = |byte| {
        PrivateKey::from_random([byte; 32])
            .expose_text()
            .to_string()
    };
    let (noise, legacy) = (key(1), key(2));
    let (noise, legacy) = (noise.as_bytes(), legacy.as_bytes());
    let instants: [&[(&str, &[u8])]; 6] = [
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
        &[
            ("noise.previous.key", text("noise.key")),
            ("noise.key", noise),
            ("legacy.previous.key", text("legacy.key")),
            ("legacy.key", legacy),
        ],
    ];
    for instant in instants {
        let directory = copy(&before);
        let directory = directory.path();
        for (name, text) in instant {
            fs::write(directory.join(name), text).unwrap();
        }
        let serves = || {
            let public = publics(&keys(directory));
            assert!(old.iter().all(|key| public.contains(key)), "{instant:?}");
        };
        serves();
        match ControlKeys::activate(directory) {
            Ok(()) => {}
            Err(ControlKeyError::HalfPrepared(_)) => {
                PREPARE(directory).unwrap();
                ACTIVATE(directory).unwrap();
            }
            // This one was whole.
            Err(error) => assert!(matches!(error, ControlKeyError::NotPrepared(_))),
        }
        serves();
        assert_eq!(
            states(directory),
            [ControlKeyState::Active, ControlKeyState::Old]
        );
        assert_eq!(publics(&halves(directory, ControlKeyState::Old)), old);
    }
}

fn noise(directory: &Path) -> Vec<[u8; 32]> {
    let keys = ControlKeys::load(directory).unwrap();
    keys.noise.iter().map(PrivateKey::public_bytes).collect()
}

#[test]
fn another_servers_key_becomes_the_active_one_and_the_one_before_goes_on() {
    let directory = made();
    let directory = directory.path();
    let before = noise(directory);
    let legacy = fs::read(directory.join("legacy.key")).unwrap();
    let theirs = PrivateKey::from_random([7; 32]);
    assert!(ControlKeys::adopt_noise(directory, &theirs).unwrap());
    assert_eq!(noise(directory), [theirs.public_bytes(), before[0]]);
    assert_eq!(fs::read(directory.join("legacy.key")).unwrap(), legacy);
    assert!(!ControlKeys::adopt_noise(directory, &theirs).unwrap());

    let other = PrivateKey::from_random([8; 32]);
    let refused = ControlKeys::adopt_noise(directory, &other);
    assert!(matches!(refused, Err(ControlKeyError::OldInUse(_))));
    ControlKeys::retire(directory).unwrap();
    PREPARE(directory).unwrap();
    let refused = ControlKeys::adopt_noise(directory, &other);
    assert!(matches!(refused, Err(ControlKeyError::Prepared(_))));
    DROP_PREPARED(directory).unwrap();
    assert!(ControlKeys::adopt_noise(directory, &other).unwrap());
}

#[test]
fn another_servers_key_may_be_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("keys");
    let theirs = PrivateKey::from_random([7; 32]);
    assert!(ControlKeys::adopt_noise(&directory, &theirs).unwrap());
    assert_eq!(noise(&directory), [theirs.public_bytes()]);
    assert_eq!(files(&directory).len(), 2);
}

#[test]
fn taking_over_a_key_is_finished_after_it_was_cut_short() {
    let directory = made();
    let directory = directory.path();
    let before = noise(directory);
    fs::copy(
        directory.join("noise.key"),
        directory.join("noise.previous.key"),
    )
    .unwrap();
    let theirs = PrivateKey::from_random([7; 32]);
    assert!(ControlKeys::adopt_noise(directory, &theirs).unwrap());
    assert_eq!(noise(directory), [theirs.public_bytes(), before[0]]);
}
