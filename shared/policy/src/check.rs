//! Judges a whole document: reads it, and runs its own tests.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    DocumentContext, Policy, Problem, failed_tests,
    inventory::{PolicyNode, PolicyUser},
};

/// The users and nodes of a tailnet, and the policy in force there.
#[derive(Clone, Copy, Debug)]
pub struct Inventory<'i> {
    /// The users by number.
    pub users: &'i BTreeMap<u64, PolicyUser>,
    /// The nodes by number.
    pub nodes: &'i BTreeMap<u64, PolicyNode>,
    /// The groups that there are, with `group:`; those that users are in need not be among them.
    pub groups: &'i BTreeSet<String>,
    /// The policy in force, if it is known.
    pub in_force: Option<&'i Policy>,
}

/// What is right and wrong with a document.
#[derive(Debug, Default)]
pub struct DocumentVerdict {
    /// The policy, when nothing is wrong.
    pub policy: Option<Policy>,
    /// What is wrong: mistakes, or, in a document without any, the tests that fail.
    pub problems: Vec<Problem>,
    /// What is right but does not do what it says.
    pub warnings: Vec<Problem>,
}

/// Judges a document that somebody wants to put in force. Its tests are run if the users and nodes are known.
#[must_use]
pub fn check_document(text: &str, inventory: Option<Inventory<'_>>) -> DocumentVerdict {
    let context = inventory.map_or_else(DocumentContext::default, |known| {
        DocumentContext::for_tailnet(known.users, known.groups, known.in_force)
    });
    let policy = match Policy::parse(text, &context) {
        Ok(policy) => policy,
        Err(problems) => {
            return DocumentVerdict {
                problems,
                ..DocumentVerdict::default()
            };
        }
    };
    let problems = inventory.map_or_else(Vec::new, |known| {
        failed_tests(&policy, known.users, known.nodes)
    });
    DocumentVerdict {
        warnings: policy.warnings().to_vec(),
        policy: problems.is_empty().then_some(policy),
        problems,
    }
}

impl DocumentVerdict {
    /// Makes warnings problems: a document with warnings is refused.
    #[must_use]
    pub fn refuse_warnings(mut self) -> Self {
        if !self.warnings.is_empty() {
            self.policy = None;
            self.problems.append(&mut self.warnings);
        }
        self
    }
}

#[cfg(test)]
mod tests;
