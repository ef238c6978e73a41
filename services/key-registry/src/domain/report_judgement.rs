//! What policies say of a node's report.

use bowline_proto::{
    identity::v1::KeyPolicy, key_registry::v1::Node, policy::v1::JudgeNodeResponse,
};

use super::approval;

/// What is said of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportJudgement {
    /// What the policy says of tags and routes.
    pub policy: JudgeNodeResponse,
    /// Whether a node that a rule has approved stays so with its new tags.
    pub keeps_approval: bool,
}

impl ReportJudgement {
    /// Returns what the policy says, where the key policy says nothing.
    pub fn new(policy: JudgeNodeResponse) -> Self {
        Self {
            policy,
            keeps_approval: true,
        }
    }

    /// Adds what the key policy says of the tags that a node asks for: a login that may give none is not got around by asking
    /// afterwards, nor is an approval rule for some tags.
    pub fn heed_key_policy(mut self, policy: &KeyPolicy, node: &Node, wanted: &[String]) -> Self {
        let rules = &policy.approval_rules;
        self.keeps_approval = approval::fits_tags(rules, &node.approved_by_rule, wanted);
        let may_not_tag = policy.logins.as_ref().is_some_and(|logins| logins.no_tags);
        if may_not_tag && node.tags.is_empty() {
            self.policy.refused_tags = wanted.to_vec();
        }
        self
    }
}
