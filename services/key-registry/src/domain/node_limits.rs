//! How many nodes there may be. Whoever has a reusable key can make nodes without asking anybody: so there is a limit.

/// The most nodes of one user. Larger fleets are tagged by keys without user.
pub const MOST_OF_USER: u64 = 5_000;
/// The most nodes of one tailnet.
pub const MOST_OF_TAILNET: u64 = 100_000;

/// How many nodes there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeCounts {
    /// In the tailnet.
    pub of_tailnet: u64,
    /// Of the user who is to have one more; 0 without one.
    pub of_user: u64,
}

/// How many nodes there were at a revision of the registry's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CountedNodes {
    /// The revision, or an earlier one.
    pub revision: u64,
    /// How many there were.
    pub counts: NodeCounts,
}

impl CountedNodes {
    /// Returns how many there can be at a revision, at most; `None` where nobody can say, because the log has gone back. Each node
    /// that is new, or another user's, has an entry in the log.
    pub fn most_at(&self, revision: u64) -> Option<NodeCounts> {
        let entries = revision.checked_sub(self.revision)?;
        Some(NodeCounts {
            of_tailnet: self.counts.of_tailnet + entries,
            of_user: self.counts.of_user + entries,
        })
    }
}

/// Says why there may not be one more, if so.
pub fn find_refusal(counts: NodeCounts) -> Option<String> {
    let (whose, most, instead) = match counts {
        _ if counts.of_tailnet >= MOST_OF_TAILNET => ("network", MOST_OF_TAILNET, ""),
        _ if counts.of_user >= MOST_OF_USER => {
            let instead = ", or use a key with tags and without user";
            ("user", MOST_OF_USER, instead)
        }
        _ => return None,
    };
    Some(format!(
        "this {whose} has {most} devices, the most there may be: delete those that nobody uses{instead}"
    ))
}

#[cfg(test)]
mod tests;
