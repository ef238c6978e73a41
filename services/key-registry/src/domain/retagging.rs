//! Tags that a node asks for while it is logged in (protocol section 5.3).

use bowline_proto::{
    key_registry::v1::{HostReport, Node, TaggedBy},
    policy::v1::JudgeNodeResponse,
};
use chrono::{DateTime, Utc};

use super::{key, tags};

/// What a report's tags ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retagging {
    /// Nothing that is not so, or nothing that can be.
    None,
    /// To have exactly these tags.
    To(Vec<String>),
}

impl Retagging {
    /// Says what a report asks for; only what it did not ask for before counts.
    pub fn from_report(node: &Node, report: &HostReport) -> Self {
        if report.requested_tags == node.requested_tags {
            return Self::None;
        }
        match tags::canonical_tags(report.requested_tags.clone()) {
            Ok(wanted) if !wanted.is_empty() && wanted != node.tags => Self::To(wanted),
            _ => Self::None,
        }
    }

    /// Returns the tags that are asked for.
    pub fn requested_tags(&self) -> &[String] {
        match self {
            Self::None => &[],
            Self::To(wanted) => wanted,
        }
    }

    /// Gives a node its new tags, or ends its key where the policy does not permit them: the device then has to log
    /// in, which says why.
    pub fn apply_to_node(self, node: &mut Node, judgement: &JudgeNodeResponse, now: DateTime<Utc>) {
        let Self::To(wanted) = self else { return };
        if judgement.refused_tags.is_empty() {
            if node.tags.is_empty() {
                node.tagged_by = TaggedBy::User.into();
            }
            node.tags = wanted;
            key::remove_end(node, now);
        } else {
            key::end_key(node, now);
        }
    }
}

#[cfg(test)]
mod tests;
