//! The administrator of one tailnet of Bowline, who asks the owners of hard state.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context as _, Result, ensure};
use bowline_clock::random_bytes;
use bowline_keys::NodePublic;
use bowline_proto::{
    identity::v1::{
        CreateTailnetRequest, CreateUserRequest, UpdateUserRequest, User,
        tailnet_service_client::TailnetServiceClient, user_service_client::UserServiceClient,
    },
    key_registry::v1::{
        CreatePreAuthKeyRequest, DeleteNodeRequest, DisableNodeRequest, ExpireNodeRequest,
        ListNodesRequest, Node, PreAuthKey, node_service_client::NodeServiceClient,
        pre_auth_key_service_client::PreAuthKeyServiceClient,
    },
    policy::v1::{SetPolicyRequest, policy_service_client::PolicyServiceClient},
};
use bowline_service_kit::GrpcChannel;
use prost_types::FieldMask;

use super::{NodeChange, RegisteredNode};
use crate::access_plan::{AccessPlan, login_name};

/// The largest answer that is read.
const LONGEST: usize = 1 << 30;

/// Channels to the owners of hard state.
#[derive(Clone, Debug)]
pub struct OwnerChannels {
    /// To identity.
    pub identity: GrpcChannel,
    /// To the key registry.
    pub registry: GrpcChannel,
    /// To the policy compiler.
    pub compiler: GrpcChannel,
}

/// A tailnet with its people.
#[derive(Clone, Debug)]
pub struct OwnedTailnet {
    channels: OwnerChannels,
    tailnet_id: u64,
    users: Vec<User>,
}

impl OwnedTailnet {
    /// Makes a tailnet.
    ///
    /// # Errors
    ///
    /// What identity says.
    pub async fn begin(channels: OwnerChannels) -> Result<Self> {
        let request = CreateTailnetRequest {
            name: format!("load{}", u32::from_be_bytes(random_bytes())),
            ..CreateTailnetRequest::default()
        };
        let mut tailnets = TailnetServiceClient::new(channels.identity.clone());
        let made = tailnets.create_tailnet(request).await?.into_inner();
        Ok(Self {
            channels,
            tailnet_id: made.tailnet.context("no tailnet")?.id,
            users: Vec::new(),
        })
    }

    /// Makes the next person, and returns their pre-auth key.
    ///
    /// # Errors
    ///
    /// What a service says.
    pub async fn add_person(&mut self) -> Result<String> {
        let person = self.users.len();
        let request = CreateUserRequest {
            tailnet_id: self.tailnet_id,
            login_name: login_name(person),
            ..CreateUserRequest::default()
        };
        let mut users = UserServiceClient::new(self.channels.identity.clone());
        let user = users.create_user(request).await?.into_inner().user;
        let user = user.context("no user")?;
        let key = PreAuthKey {
            tailnet_id: self.tailnet_id,
            user_id: user.id,
            reusable: true,
            ..PreAuthKey::default()
        };
        let mut keys = PreAuthKeyServiceClient::new(self.channels.registry.clone());
        let request = CreatePreAuthKeyRequest {
            key: Some(key),
            ..CreatePreAuthKeyRequest::default()
        };
        let made = keys.create_pre_auth_key(request).await?;
        self.users.push(user);
        Ok(made.into_inner().secret)
    }

    /// Puts a plan in force.
    ///
    /// # Errors
    ///
    /// What the compiler says.
    pub async fn set_policy(&self, plan: &AccessPlan) -> Result<()> {
        let request = SetPolicyRequest {
            tailnet_id: self.tailnet_id,
            text: plan.text(),
            ..SetPolicyRequest::default()
        };
        let mut policies = PolicyServiceClient::new(self.channels.compiler.clone());
        let problems = policies.set_policy(request).await?.into_inner().problems;
        ensure!(problems.is_empty(), "{problems:?}");
        Ok(())
    }

    /// Returns the nodes, by key.
    ///
    /// # Errors
    ///
    /// What the registry says.
    pub async fn nodes(&self) -> Result<BTreeMap<NodePublic, RegisteredNode>> {
        let request = ListNodesRequest {
            tailnet_id: self.tailnet_id,
            ..ListNodesRequest::default()
        };
        let mut client = self.registry();
        let listed = client.list_nodes(request).await?.into_inner().nodes;
        let nodes = listed.into_iter().filter_map(|listed| listed.node);
        nodes.map(|node| registered(&node)).collect()
    }

    /// Changes how a node stands.
    ///
    /// # Errors
    ///
    /// What the registry says.
    pub async fn change_node(&self, node_id: u64, change: NodeChange) -> Result<()> {
        let (tailnet_id, mut registry) = (self.tailnet_id, self.registry());
        match change {
            NodeChange::Expire => {
                let request = ExpireNodeRequest {
                    tailnet_id,
                    node_id,
                };
                registry.expire_node(request).await?;
            }
            NodeChange::Disable => {
                let request = DisableNodeRequest {
                    tailnet_id,
                    node_id,
                };
                registry.disable_node(request).await?;
            }
            NodeChange::Delete => {
                let request = DeleteNodeRequest {
                    tailnet_id,
                    node_id,
                };
                registry.delete_node(request).await?;
            }
        }
        Ok(())
    }

    /// Suspends a person with all nodes.
    ///
    /// # Errors
    ///
    /// What identity says.
    pub async fn suspend_person(&self, person: usize) -> Result<()> {
        let user = self.users.get(person).context("no such person")?;
        let request = UpdateUserRequest {
            user: Some(User {
                suspended: true,
                ..user.clone()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["suspended".to_owned()],
            }),
        };
        let mut users = UserServiceClient::new(self.channels.identity.clone());
        users.update_user(request).await?;
        Ok(())
    }

    fn registry(&self) -> NodeServiceClient<GrpcChannel> {
        NodeServiceClient::new(self.channels.registry.clone()).max_decoding_message_size(LONGEST)
    }
}

fn registered(node: &Node) -> Result<(NodePublic, RegisteredNode)> {
    let address = |text: &str| text.parse::<IpAddr>().context("a node without address");
    let found = RegisteredNode {
        id: node.id,
        addresses: [address(&node.ipv4)?, address(&node.ipv6)?],
    };
    Ok((NodePublic::try_from(&node.node_key[..])?, found))
}
