//! The `tests` and `sshTests` of a document, run against an inventory (policy section 20).

mod access;
mod budget;
mod device;
mod ssh;
mod target;

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use crate::{
    document::Problems,
    inventory::{PolicyNode, PolicyUser},
    policy::Policy,
    problem::Problem,
};
use budget::{Budget, Exhausted};
use device::TestDevice;

/// A policy and the tailnet its tests are run against.
#[derive(Debug)]
struct TestedTailnet<'w> {
    policy: &'w Policy,
    users: &'w BTreeMap<u64, PolicyUser>,
    nodes: &'w BTreeMap<u64, PolicyNode>,
    by_address: HashMap<IpAddr, &'w PolicyNode>,
    by_tag: HashMap<&'w str, Vec<&'w PolicyNode>>,
    by_login: HashMap<&'w str, &'w PolicyUser>,
    /// The nodes of each user.
    devices: HashMap<u64, Vec<TestDevice<'w>>>,
}

/// Returns the tests of a policy that fail, in order, with the place of each; at most fifty.
///
/// When the tests take too long, that is a failure too, and those that are left are not run.
#[must_use]
pub fn failed_tests(
    policy: &Policy,
    users: &BTreeMap<u64, PolicyUser>,
    nodes: &BTreeMap<u64, PolicyNode>,
) -> Vec<Problem> {
    let mut problems = Problems::default();
    if policy.tests.is_empty() && policy.ssh_tests.is_empty() {
        return Vec::new();
    }
    // What is noted of the tests before stays when the budget is exhausted.
    let _ = run_tests(&TestedTailnet::new(policy, users, nodes), &mut problems);
    problems.into_vec()
}

fn run_tests(tailnet: &TestedTailnet<'_>, problems: &mut Problems) -> Result<(), Exhausted> {
    let mut budget = Budget::default();
    let mut note = |line, failures: Result<Vec<String>, Exhausted>| {
        let texts = match &failures {
            Ok(failures) => failures.clone(),
            Err(exhausted) => vec![exhausted.to_string()],
        };
        for text in texts {
            problems.push(Problem {
                line,
                column: 1,
                message: format!("test(s) failed: {text}"),
                hint: String::new(),
            });
        }
        failures.map(drop)
    };
    let mut access = access::AccessJudge::new(tailnet);
    for test in &tailnet.policy.tests {
        note(test.line, access.find_failures(test, &mut budget))?;
    }
    let mut ssh = ssh::SshJudge::new(tailnet);
    for test in &tailnet.policy.ssh_tests {
        note(test.line, ssh.find_failures(test, &mut budget))?;
    }
    Ok(())
}

impl<'w> TestedTailnet<'w> {
    fn new(
        policy: &'w Policy,
        users: &'w BTreeMap<u64, PolicyUser>,
        nodes: &'w BTreeMap<u64, PolicyNode>,
    ) -> Self {
        let mut tailnet = Self {
            policy,
            users,
            nodes,
            by_address: HashMap::new(),
            by_tag: HashMap::new(),
            by_login: users
                .values()
                .map(|user| (&*user.login_name, user))
                .collect(),
            devices: HashMap::new(),
        };
        for node in nodes.values() {
            for address in node.addresses() {
                tailnet.by_address.entry(address).or_insert(node);
            }
            for tag in &node.tags {
                tailnet.by_tag.entry(tag).or_default().push(node);
            }
            let device = tailnet.device_of(node);
            if let Some(user) = device.owner {
                tailnet.devices.entry(user.id).or_default().push(device);
            }
        }
        tailnet
    }

    /// Returns a node with its owner; one that has tags has none.
    fn device_of(&self, node: &'w PolicyNode) -> TestDevice<'w> {
        let owner = self.users.get(&node.user);
        TestDevice {
            node,
            owner: owner.filter(|_| node.tags.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests;
