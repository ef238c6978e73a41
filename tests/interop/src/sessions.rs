//! The map sessions of a node, as the log of a gateway tells of them.

use serde_json::Value;

/// How many map sessions of a node have begun and ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// Begun since the gateway started.
    pub begun: usize,
    /// Ended since the gateway started.
    pub ended: usize,
}

impl Sessions {
    /// Reads a gateway's log, of JSON lines.
    #[must_use]
    pub fn of(node: u64, log: &str) -> Self {
        let mut sessions = Self::default();
        for line in log.lines().filter(|line| line.contains("map session")) {
            let Ok(line) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let fields = &line;
            if fields["node"] != node {
                continue;
            }
            match fields["message"].as_str() {
                Some("map session begins") => sessions.begun += 1,
                Some("map session ends") => sessions.ended += 1,
                _ => {}
            }
        }
        sessions
    }
}
