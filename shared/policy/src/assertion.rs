//! The `tests` and `sshTests` of a document, run against an inventory (policy section 20).

mod access;
mod budget;
mod device;
mod named;
mod ssh;

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use crate::{
    document::Problems,
    inventory::{Node, User},
    policy::Policy,
    problem::Problem,
};
use budget::{Budget, Exhausted};
use device::Device;

/// A policy and what it is judged with.
#[derive(Debug)]
struct World<'w> {
    policy: &'w Policy,
    users: &'w BTreeMap<u64, User>,
    nodes: &'w BTreeMap<u64, Node>,
    by_address: HashMap<IpAddr, &'w Node>,
    by_tag: HashMap<&'w str, Vec<&'w Node>>,
    by_login: HashMap<&'w str, &'w User>,
    /// The nodes of each user.
    devices: HashMap<u64, Vec<Device<'w>>>,
}

/// Returns the tests of a policy that fail, in order, with the place of each; at most fifty.
///
/// Tests that would take too long fail: what is left of them is not run.
#[must_use]
pub fn failed_tests(
    policy: &Policy,
    users: &BTreeMap<u64, User>,
    nodes: &BTreeMap<u64, Node>,
) -> Vec<Problem> {
    if policy.tests.is_empty() && policy.ssh_tests.is_empty() {
        return Vec::new();
    }
    let world = World::new(policy, users, nodes);
    let mut budget = Budget::default();
    let mut problems = Problems::default();
    let mut note = |line, failures: Result<Vec<String>, Exhausted>| {
        let (failures, goes_on) = match failures {
            Ok(failures) => (failures, true),
            Err(exhausted) => (vec![exhausted.to_string()], false),
        };
        for why in failures {
            problems.push(Problem {
                line,
                column: 1,
                message: format!("test(s) failed: {why}"),
                hint: String::new(),
            });
        }
        goes_on
    };
    let mut access = access::Judge::new(&world);
    let mut ssh = ssh::Judge::new(&world);
    let mut tests = policy.tests.iter();
    let mut ssh_tests = policy.ssh_tests.iter();
    let _all_ran = tests.all(|test| note(test.line, access.failures(test, &mut budget)))
        && ssh_tests.all(|test| note(test.line, ssh.failures(test, &mut budget)));
    problems.into_vec()
}

impl<'w> World<'w> {
    fn new(
        policy: &'w Policy,
        users: &'w BTreeMap<u64, User>,
        nodes: &'w BTreeMap<u64, Node>,
    ) -> Self {
        let mut world = Self {
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
                world.by_address.entry(address).or_insert(node);
            }
            for tag in &node.tags {
                world.by_tag.entry(tag).or_default().push(node);
            }
            let device = world.device(node);
            if let Some(user) = device.owner {
                world.devices.entry(user.id).or_default().push(device);
            }
        }
        world
    }

    /// Returns a node with its owner; one that has tags has none.
    fn device(&self, node: &'w Node) -> Device<'w> {
        let owner = self.users.get(&node.user);
        Device {
            node,
            owner: owner.filter(|_| node.tags.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests;
