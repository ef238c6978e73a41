//! A document judged as a whole: read, and its own tests run.

use std::collections::BTreeMap;

use crate::{
    DocumentContext, Policy, Problem, failed_tests,
    inventory::{Node, User},
};

/// The users and nodes of a tailnet, and what is in force there.
#[derive(Clone, Copy, Debug)]
pub struct Inventory<'i> {
    /// The users by number.
    pub users: &'i BTreeMap<u64, User>,
    /// The nodes by number.
    pub nodes: &'i BTreeMap<u64, Node>,
    /// The policy in force, if it is known.
    pub in_force: Option<&'i Policy>,
}

/// What is said of a document.
#[derive(Debug, Default)]
pub struct Verdict {
    /// The policy, when nothing is wrong.
    pub policy: Option<Policy>,
    /// What is wrong: its mistakes, or else the tests of its own that fail.
    pub problems: Vec<Problem>,
    /// What is not wrong, and does not do what it says either.
    pub warnings: Vec<Problem>,
}

/// Judges a document that is to be put in force; its tests are run where the users and nodes are known.
#[must_use]
pub fn check_document(text: &str, inventory: Option<Inventory<'_>>) -> Verdict {
    let context = inventory.map_or_else(DocumentContext::default, |known| {
        DocumentContext::of(known.users, known.in_force)
    });
    let policy = match Policy::parse(text, &context) {
        Ok(policy) => policy,
        Err(problems) => {
            return Verdict {
                problems,
                ..Verdict::default()
            };
        }
    };
    let problems = inventory.map_or_else(Vec::new, |known| {
        failed_tests(&policy, known.users, known.nodes)
    });
    Verdict {
        warnings: policy.warnings().to_vec(),
        policy: problems.is_empty().then_some(policy),
        problems,
    }
}

impl Verdict {
    /// Refuses what there are warnings of.
    #[must_use]
    pub fn strict(mut self) -> Self {
        if !self.warnings.is_empty() {
            self.policy = None;
            self.problems.append(&mut self.warnings);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_refuse_a_document_where_they_are_to() {
        let text = r#"{"postures": {"posture:p": ["custom:tier == 'a'"]}}"#;
        let verdict = check_document(text, None);
        assert!(verdict.policy.is_some() && verdict.problems.is_empty());
        assert_eq!(verdict.warnings.len(), 1);
        let strict = verdict.strict();
        assert!(strict.policy.is_none() && strict.warnings.is_empty());
        assert_eq!(strict.problems.len(), 1);
        assert!(check_document("{}", None).strict().policy.is_some());
    }
}
