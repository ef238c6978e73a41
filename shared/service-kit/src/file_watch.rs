//! Files that are replaced while the process runs.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How often files are looked at, at most.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Notices that one of several files was replaced or written. Nothing runs in the background: whoever uses what was
/// read from the files asks.
#[derive(Debug)]
pub struct FileWatch {
    paths: Vec<PathBuf>,
    state: Mutex<WatchState>,
}

#[derive(Debug)]
struct WatchState {
    looked: Instant,
    seen: Vec<Option<Stamp>>,
}

/// Two files with the same stamp are the same file with the same text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    changed: (i64, i64),
}

impl FileWatch {
    /// Watches files, from what they are now on: make it before they are read.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        let state = WatchState {
            looked: tokio::time::Instant::now().into_std(),
            seen: read_stamps(&paths),
        };
        Self {
            paths,
            state: Mutex::new(state),
        }
    }

    /// Looks, unless that was a moment ago, and says whether a file has changed since the look before.
    pub fn check_for_changes(&self) -> bool {
        let mut state = self.state.lock();
        if state.looked.elapsed() < CHECK_INTERVAL {
            return false;
        }
        state.looked = tokio::time::Instant::now().into_std();
        let now = read_stamps(&self.paths);
        let has_changed = now != state.seen;
        state.seen = now;
        has_changed
    }

    /// Has the next look find a change: what was read could not be used, as when one file of a pair was replaced and
    /// the other not yet.
    pub fn report_again(&self) {
        let mut state = self.state.lock();
        state.seen.clear();
    }
}

fn read_stamps(paths: &[PathBuf]) -> Vec<Option<Stamp>> {
    let stamp = |metadata: Metadata| Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        length: metadata.len(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    };
    let stamps = paths.iter().map(|path| std::fs::metadata(path).ok());
    stamps.map(|found| found.map(stamp)).collect()
}
