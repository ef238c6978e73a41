//! The tailnet that a network moves into, and what is there already.

use std::collections::BTreeSet;

use bowline_headscale::MovingPlan;
use bowline_proto::{
    identity::v1::{Tailnet, User},
    policy::v1::{GetPolicyRequest, policy_service_client::PolicyServiceClient},
};

use crate::{
    administer::{TailnetArg, list_nodes, list_users},
    connection::ConnectionArgs,
    failure::{Failure, FailureKind, require_field},
};

/// The longest policy and what travels with it.
pub const LONGEST_POLICY: usize = 17 << 20;

/// Where a network moves to.
#[derive(Debug)]
pub struct Target {
    /// The name of the tailnet.
    pub name: String,
    /// The tailnet; `None` when it is still to be made.
    pub tailnet: Option<Tailnet>,
    /// The users who are there.
    pub users: Vec<User>,
    /// The node keys that are there.
    pub node_keys: BTreeSet<Vec<u8>>,
    /// Whether the policy that moves is in force there.
    pub has_policy: bool,
}

impl Target {
    /// Finds the tailnet, and refuses one where somebody else's devices or policy are.
    pub async fn find(
        named: &TailnetArg,
        connection: &ConnectionArgs,
        plan: &MovingPlan,
    ) -> Result<Self, Failure> {
        let found = named.find_tailnet(connection).await;
        let tailnet = match (found, named.name()) {
            (Ok(tailnet), _) => tailnet,
            (Err(failure), Some(name)) if failure.kind() == FailureKind::NotFound => {
                return Ok(Self {
                    name: name.to_owned(),
                    tailnet: None,
                    users: Vec::new(),
                    node_keys: BTreeSet::new(),
                    has_policy: false,
                });
            }
            (Err(failure), None) if failure.kind() == FailureKind::NotFound => {
                let text = "there is no tailnet yet: say what it is to be called, with --tailnet";
                return Err(Failure::new(FailureKind::NotFound, text));
            }
            (Err(failure), _) => return Err(failure),
        };
        let moving: BTreeSet<&[u8]> = plan.nodes.iter().map(|node| &*node.node.node_key).collect();
        let mut node_keys = BTreeSet::new();
        for listed in list_nodes(connection, tailnet.id).await? {
            let node = require_field(listed.node, "node")?;
            if !moving.contains(&*node.node_key) {
                let text = format!(
                    "the tailnet \"{}\" has the device \"{}\", which does not come from there: move into one without devices, or into a new one with --tailnet NAME",
                    tailnet.name, node.name
                );
                return Err(Failure::new(FailureKind::Refused, text));
            }
            node_keys.insert(node.node_key);
        }
        let mut compiler = PolicyServiceClient::new(connection.connect_to_compiler()?)
            .max_decoding_message_size(LONGEST_POLICY);
        let request = GetPolicyRequest {
            tailnet_id: tailnet.id,
            version: 0,
        };
        let in_force = compiler.get_policy(request).await?.into_inner().version;
        let in_force = require_field(in_force, "policy version")?;
        let has_policy = plan
            .policy
            .as_ref()
            .is_some_and(|policy| policy.text == in_force.text);
        if in_force.version != 0 && !has_policy {
            let text = format!(
                "the tailnet \"{}\" has a policy of its own: move into a new tailnet with --tailnet NAME",
                tailnet.name
            );
            return Err(Failure::new(FailureKind::Refused, text));
        }
        Ok(Self {
            name: tailnet.name.clone(),
            users: list_users(connection, tailnet.id).await?,
            tailnet: Some(tailnet),
            node_keys,
            has_policy,
        })
    }

    /// Says whether a user is there.
    pub fn has_user(&self, login_name: &str) -> bool {
        let folded = login_name.to_lowercase();
        let mut names = self.users.iter().map(|user| user.login_name.to_lowercase());
        names.any(|name| name == folded)
    }
}
