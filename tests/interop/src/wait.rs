//! Waiting for a state, with a deadline.

use std::time::{Duration, Instant};

/// Asks again until there is an answer, and returns it with how long it took.
///
/// # Panics
///
/// When the deadline passes; says what was waited for and the last reason there was none.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> (T, Duration) {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return (found, start.elapsed()),
            Err(reason) if start.elapsed() > limit => {
                panic!("{what}: not within {limit:?}: {reason}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(25)),
        }
    }
}
