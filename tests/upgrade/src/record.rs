//! What a deployment holds, as its command line lists it: written beside a fixture, and compared with what today's
//! version lists of a copy.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use bowline_keys::PrivateKey;
use bowline_test_deployments::Deployment;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::Device;

/// All that has to be the same after an upgrade.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What each tailnet holds, by its name.
    pub tailnets: BTreeMap<String, TailnetRecord>,
    /// The devices whose keys are known.
    pub devices: Vec<DeviceRecord>,
}

/// What one tailnet holds.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TailnetRecord {
    /// Its settings.
    pub settings: Settings,
    /// Its users, by number.
    pub users: Vec<UserRecord>,
    /// Its nodes, by number.
    pub nodes: Vec<NodeRecord>,
    /// Its pre-auth keys, by id.
    pub keys: Vec<KeyRecord>,
    /// The versions of its policy, by number.
    pub policies: Vec<PolicyRecord>,
    /// The document in force.
    pub policy: String,
}

/// A tailnet's settings.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub id: u64,
    pub name: String,
    pub display_name: String,
    pub magic_dns_suffix: String,
    pub ipv4_pool: String,
    pub ipv6_pool: String,
    pub key_lifetime_seconds: Option<i64>,
    pub machine_approval: bool,
    pub require_key_proof: bool,
    pub auto_update: Option<bool>,
}

/// A user.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    pub id: u64,
    pub login_name: String,
    pub role: String,
    pub groups: Vec<String>,
    pub suspended: bool,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named as the command line names them")]
pub struct NodeRecord {
    pub id: u64,
    pub name: String,
    pub user: String,
    pub tags: Vec<String>,
    pub ipv4: String,
    pub ipv6: String,
    pub node_key: String,
    pub machine_key: String,
    pub key_expiry: Option<String>,
    pub expired: bool,
    pub approved: bool,
    pub ephemeral: bool,
    pub advertised_routes: Vec<String>,
    pub approved_routes: Vec<String>,
}

/// A pre-auth key.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    pub id: String,
    pub user_id: u64,
    pub tags: Vec<String>,
    pub reusable: bool,
    pub ephemeral: bool,
    pub pre_approved: bool,
    pub uses: u64,
    pub description: String,
    pub expires_at: Option<String>,
    pub revoked_at: Option<String>,
}

/// A version of a policy.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRecord {
    pub version: u64,
    pub author: String,
    pub created_at: Option<String>,
}

/// A device that comes back: test secrets, made for the fixture and used nowhere else.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// Its tailnet.
    pub tailnet: String,
    /// The private half of its machine key.
    pub machine: String,
    /// The private half of its node key.
    pub node: String,
    /// What it says of its host.
    pub hostinfo: Value,
    /// The full name its netmap gives it.
    pub name: String,
    /// The full names of its peers.
    pub peers: Vec<String>,
}

impl DeviceRecord {
    /// Returns the device with its keys.
    ///
    /// # Errors
    ///
    /// When they are none.
    pub fn device(&self) -> Result<Device> {
        Ok(Device {
            machine: self.machine.parse::<PrivateKey>()?,
            node: self.node.parse::<PrivateKey>()?,
        })
    }

    /// Asks for the device's netmap and returns its name and its peers' names.
    ///
    /// # Errors
    ///
    /// What the server says.
    pub fn told(&self, server: &dyn Deployment) -> Result<(String, Vec<String>)> {
        let map = self.device()?.map(server.address())?;
        let mut peers: Vec<_> = map.peers.iter().map(|peer| peer.name.clone()).collect();
        peers.sort();
        Ok((map.node.context("a netmap without its node")?.name, peers))
    }
}

impl Record {
    /// Lists everything a deployment holds.
    ///
    /// # Errors
    ///
    /// What a command says, or a field that is missing in its answer.
    pub fn of(server: &dyn Deployment) -> Result<Self> {
        let mut tailnets = BTreeMap::new();
        for settings in read::<Vec<Settings>>(server.bowline(&["tailnets", "list"])?)? {
            let name = settings.name.clone();
            let list = |what: &[&str]| {
                let arguments = [what, &["--tailnet", &name]].concat();
                server.bowline(&arguments)
            };
            let mut users: Vec<UserRecord> = read(list(&["users", "list"])?)?;
            users.sort_by_key(|user| user.id);
            let mut nodes: Vec<NodeRecord> = read(list(&["nodes", "list"])?)?;
            nodes.sort_by_key(|node| node.id);
            let mut keys: Vec<KeyRecord> = read(list(&["keys", "list"])?)?;
            keys.sort_by(|one, other| one.id.cmp(&other.id));
            let mut policies: Vec<PolicyRecord> = read(list(&["policy", "history"])?)?;
            policies.sort_by_key(|policy| policy.version);
            let policy = match policies.is_empty() {
                true => String::new(),
                false => list(&["policy", "get"])?["text"]
                    .as_str()
                    .context("a policy without text")?
                    .to_owned(),
            };
            let held = TailnetRecord {
                settings,
                users,
                nodes,
                keys,
                policies,
                policy,
            };
            tailnets.insert(name, held);
        }
        Ok(Self {
            tailnets,
            devices: Vec::new(),
        })
    }
}

fn read<T: DeserializeOwned>(answer: Value) -> Result<T> {
    let text = answer.to_string();
    serde_json::from_value(answer).with_context(|| text)
}
