//! What travels: who owns the log, which tailnet, how far.

use bowline_ids::{Revision, TailnetId};
use serde::{Deserialize, Serialize};

/// The longest message looked at; a real one has about 80 bytes.
const LONGEST: usize = 200;

/// A service that others wait for: one that keeps a change log, or the gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogOwner {
    /// Tailnets, users, logins.
    Identity,
    /// Machines, nodes, keys; the one with soft state.
    KeyRegistry,
    /// Policy versions.
    PolicyCompiler,
    /// How far gateways have applied the logs: a hint says that some gateway has come further.
    NetmapGateway,
}

impl LogOwner {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Identity,
        Self::KeyRegistry,
        Self::PolicyCompiler,
        Self::NetmapGateway,
    ];

    /// Returns the owner's name in channels, metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::KeyRegistry => "key-registry",
            Self::PolicyCompiler => "policy-compiler",
            Self::NetmapGateway => "netmap-gateway",
        }
    }
}

/// A tailnet's log is at least this far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// The tailnet.
    pub tailnet: TailnetId,
    /// The number of hard-state entries.
    pub revision: Revision,
    /// The number of soft-state batches; zero for owners without soft state.
    pub soft_revision: u64,
}

/// A hint as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HintMessage {
    tailnet: u64,
    revision: u64,
    soft_revision: u64,
}

impl Hint {
    /// Returns the text of the hint.
    pub(crate) fn encode(self) -> String {
        let Self {
            tailnet,
            revision,
            soft_revision,
        } = self;
        format!(r#"{{"tailnet":{tailnet},"revision":{revision},"soft_revision":{soft_revision}}}"#)
    }

    /// Reads a hint; `None` when it is anything else.
    pub(crate) fn decode(text: &[u8]) -> Option<Self> {
        // A struct would also be read from an array.
        if text.len() > LONGEST || !text.starts_with(b"{") {
            return None;
        }
        let message: HintMessage = serde_json::from_slice(text).ok()?;
        // Columns are signed: no database can be further.
        let limit = i64::MAX.cast_unsigned();
        if message.revision > limit || message.soft_revision > limit {
            return None;
        }
        Some(Self {
            tailnet: TailnetId::try_from(message.tailnet).ok()?,
            revision: Revision::new(message.revision),
            soft_revision: message.soft_revision,
        })
    }
}

#[cfg(test)]
mod tests;
