use std::{fs, path::Path, time::Instant};

use bowline_service_kit::Shutdown;
use tempfile::TempDir;

use super::*;

const SOON: Duration = Duration::from_secs(60);

fn made() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    ControlKeys::create(directory.path()).unwrap();
    directory
}

async fn open(source: ControlKeySource) -> Result<Arc<CurrentControlKeys>, ReadKeysError> {
    let tasks = Tasks::new(Shutdown::new(Duration::ZERO));
    CurrentControlKeys::open(source, &tasks).await
}

async fn open_directory(directory: &Path) -> Arc<CurrentControlKeys> {
    let source = ControlKeySource::Directory(directory.to_owned());
    open(source).await.unwrap()
}

/// Waits until the keys are read again, and returns their states, which are alike in both transports.
async fn next_states(keys: &CurrentControlKeys, before: &ControlKeys) -> Vec<ControlKeyState> {
    let deadline = Instant::now() + SOON;
    while keys.current().describe() == before.describe() {
        assert!(Instant::now() < deadline, "they are not read again");
        tokio::task::yield_now().await;
    }
    let states = keys.current();
    let states = states.noise.with_states().map(|(state, _)| state);
    states.collect()
}

#[tokio::test]
async fn keys_are_read_again_in_each_phase_of_a_roll() {
    use ControlKeyState::{Active, Old, Prepared};
    let directory = made();
    let keys = open_directory(directory.path()).await;
    let first = keys.current();
    ControlKeys::prepare(directory.path()).unwrap();
    assert_eq!(next_states(&keys, &first).await, [Active, Prepared]);
    let prepared = keys.current();
    assert_eq!(prepared.noise.public(), first.noise.public());
    ControlKeys::activate(directory.path()).unwrap();
    assert_eq!(next_states(&keys, &prepared).await, [Active, Old]);
    let active = keys.current();
    assert_ne!(active.noise.public(), first.noise.public());
    assert_ne!(active.legacy.public(), first.legacy.public());
    ControlKeys::retire(directory.path()).unwrap();
    assert_eq!(next_states(&keys, &active).await, [Active]);
}

#[tokio::test]
async fn keys_that_can_not_be_read_change_nothing() {
    let directory = made();
    let keys = open_directory(directory.path()).await;
    let first = keys.current();
    let file = directory.path().join("noise.key");
    let text = fs::read(&file).unwrap();
    // As while a copy is written.
    fs::write(&file, &text[..20]).unwrap();
    let deadline = Instant::now() + Duration::from_secs(6);
    while Instant::now() < deadline {
        assert_eq!(keys.current().describe(), first.describe());
        tokio::task::yield_now().await;
    }
    fs::write(&file, text).unwrap();
    ControlKeys::prepare(directory.path()).unwrap();
    assert_eq!(next_states(&keys, &first).await.len(), 2);
}

fn command(text: impl Into<String>) -> ControlKeySource {
    ControlKeySource::Command(text.into())
}

#[tokio::test]
async fn keys_come_from_a_command_which_is_run_again() {
    let directory = made();
    let place = directory.path();
    let export = |to: &str| {
        let text = ControlKeys::load(place).unwrap().expose_text();
        fs::write(place.join(to), text.as_bytes()).unwrap();
    };
    export("store");
    let source = command(format!("cat {}", place.join("store").display()));
    let keys = open(source).await.unwrap();
    let first = keys.current();
    assert_eq!(
        first.describe(),
        ControlKeys::load(place).unwrap().describe()
    );
    // What it prints meanwhile is none.
    fs::write(place.join("store"), "no access").unwrap();
    let next_minute = async || {
        tokio::task::yield_now().await;
        tokio::time::pause();
        tokio::time::advance(COMMAND_INTERVAL).await;
        tokio::time::resume();
    };
    next_minute().await;
    ControlKeys::prepare(place).unwrap();
    export("next");
    fs::rename(place.join("next"), place.join("store")).unwrap();
    let deadline = Instant::now() + SOON;
    while keys.current().describe() == first.describe() {
        assert!(Instant::now() < deadline, "it is not run again");
        next_minute().await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(keys.current().describe().len(), 4);
}

#[tokio::test]
async fn command_that_gives_no_keys_is_refused_without_what_it_prints() {
    let directory = made();
    let text = ControlKeys::load(directory.path()).unwrap().expose_text();
    let noise = text.lines().next().unwrap();
    for (source, said) in [
        (format!("echo {noise}"), "not an active key for legacy"),
        (
            format!("echo {noise}; exit 9"),
            "it failed (exit status: 9)",
        ),
        (format!("echo nonsense {noise}"), "line 1"),
    ] {
        let refused = open(command(source)).await.unwrap_err();
        let refused = refused.to_string();
        assert!(refused.starts_with("control_keys_command: "), "{refused}");
        assert!(refused.contains(said), "{refused}");
        assert!(
            !refused.contains("privkey:0") && !refused.contains(noise),
            "{refused}"
        );
    }
}
