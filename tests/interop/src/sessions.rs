//! The map sessions of a node, as the log of a gateway tells of them.

use std::time::Duration;

use chrono::{DateTime, Utc};
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

/// Returns the longest time that a node had no map session after its first, as the logs of all gateways tell of it.
#[must_use]
pub fn longest_gap(node: u64, logs: &[String]) -> Duration {
    let mut events: Vec<(DateTime<Utc>, bool)> = Vec::new();
    for line in logs.iter().flat_map(|log| log.lines()) {
        if !line.contains("map session") {
            continue;
        }
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let begins = match line["message"].as_str() {
            Some("map session begins") => true,
            Some("map session ends") => false,
            _ => continue,
        };
        let time = line["timestamp"].as_str().unwrap_or_default().parse();
        if let (true, Ok(time)) = (line["node"] == node, time) {
            events.push((time, begins));
        }
    }
    events.sort_unstable();
    let mut empty_since: Option<DateTime<Utc>> = None;
    let (mut live, mut longest) = (0, Duration::ZERO);
    for (time, begins) in events {
        if begins {
            if let Some(since) = empty_since.take() {
                longest = longest.max((time - since).to_std().unwrap_or_default());
            }
            live += 1;
        } else {
            live -= 1;
            if live == 0 {
                empty_since = Some(time);
            }
        }
    }
    longest
}
