//! How many files the process may have open, and so how many connections.
//!
//! Shells and service managers give a process a low soft limit (1,024) and a high hard one. A connection costs a
//! file, and a server without files can not be administered either: so the soft limit is raised at the start, and what
//! strangers can reach gets only what is left over.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is kept back for databases, administrators, other services, metrics and connections on their way out.
const RESERVE: u64 = 384;

/// Raises the soft limit of open files to the hard one, where the system lets it.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, raised).is_err() {
        tracing::warn!(soft = ?limit.current, "the limit of open files can not be raised");
    }
}

/// Returns how many connections strangers may cause altogether, by the limit that is in force.
#[must_use]
pub fn available_connections() -> usize {
    connections_within(getrlimit(Resource::Nofile).current)
}

/// Returns `wanted`, or as many connections as there are files for, and says so in the log.
#[must_use]
pub fn bound_connections(listener: &'static str, wanted: usize, available: usize) -> usize {
    if wanted > available {
        tracing::warn!(
            listener,
            wanted,
            connections = available,
            "the system's limit of open files allows fewer connections than the settings: raise it (ulimit -Hn, LimitNOFILE)"
        );
    }
    wanted.min(available)
}

/// Returns how many connections fit within a limit of open files; `None`: there is none.
fn connections_within(limit: Option<u64>) -> usize {
    let Some(limit) = limit else {
        return usize::MAX;
    };
    let left = limit.saturating_sub(RESERVE).max(limit / 4).max(1);
    usize::try_from(left).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
