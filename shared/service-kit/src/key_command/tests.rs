use std::path::Path;

use super::*;

const KEY: &str = "bowline-sealing-key-AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

async fn refuse(command: &str) -> String {
    let refused = run_key_command(command).await.map(drop);
    refused.unwrap_err().to_string()
}

#[tokio::test]
async fn what_a_command_prints_is_returned() {
    let printed = run_key_command(&format!("printf '%s\\n' {KEY}")).await;
    assert_eq!(**printed.unwrap(), format!("{KEY}\n"));
    // More than a pipe holds, on both.
    let long = "head -c 65536 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero >&2";
    assert_eq!(run_key_command(long).await.unwrap().len(), 65536);
}

#[tokio::test]
async fn command_that_gives_no_keys_is_refused_without_what_it_prints() {
    for (command, said) in [
        (
            format!("echo {KEY}; echo no access >&2; exit 3"),
            "(exit status: 3): no access",
        ),
        (format!("set -x; echo {KEY}; false"), "[redacted]"),
        ("exec /nonexistent/kms".to_owned(), "/nonexistent/kms"),
        ("head -c 65537 /dev/zero".to_owned(), "more than"),
        ("printf '\\377'".to_owned(), "no text"),
    ] {
        let refused = refuse(&command).await;
        assert!(refused.contains(said), "{command}: {refused}");
        assert!(!refused.contains(KEY), "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn command_that_hangs_is_ended() {
    let refused = refuse(&format!("echo {KEY}; sleep 100000")).await;
    assert_eq!(refused, "it has not ended after 30 seconds");
}

#[tokio::test]
async fn what_a_command_has_started_ends_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let command = format!("sleep 100000 & echo $! >{}; yes", file.display());
    assert!(refuse(&command).await.contains("more than"));
    let pid = std::fs::read_to_string(file).unwrap();
    let stat = Path::new("/proc").join(pid.trim()).join("stat");
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    // Nobody else starts 100,000 seconds of sleep under the number meanwhile.
    while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(std::time::Instant::now() < deadline, "it goes on");
        tokio::task::yield_now().await;
    }
}
