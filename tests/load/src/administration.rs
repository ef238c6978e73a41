//! What an administrator does: a tailnet with people and keys, its policy, the end of nodes.

mod headscale;
mod owners;

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::Result;
use bowline_keys::NodePublic;

pub use self::{
    headscale::HeadscaleApi,
    owners::{OwnedTailnet, OwnerChannels},
};
use crate::{access_plan::AccessPlan, options::PhaseName, roster::Standing};

/// Where an administrator asks.
#[derive(Clone, Debug)]
pub enum AdministratorAccess {
    /// The services of Bowline.
    Owners(Box<OwnerChannels>),
    /// The interface of headscale for programs.
    Headscale(HeadscaleApi),
}

impl AdministratorAccess {
    /// Says whether what a phase does can be asked for.
    pub fn may_do(&self, phase: PhaseName) -> bool {
        let only_bowline = [PhaseName::Disable, PhaseName::Suspend, PhaseName::Soak];
        matches!(self, Self::Owners(_)) || !only_bowline.contains(&phase)
    }
}

/// The administrator of one tailnet.
#[derive(Clone, Debug)]
pub struct Administration {
    /// The pre-auth key of each person.
    pub auth_keys: Vec<String>,
    tailnet: AdministeredTailnet,
}

#[derive(Clone, Debug)]
enum AdministeredTailnet {
    Owned(Box<OwnedTailnet>),
    Headscale(HeadscaleApi),
}

/// What an administrator does to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeChange {
    /// Its key ends.
    Expire,
    /// It is kept out.
    Disable,
    /// It is deleted.
    Delete,
}

/// What the server has given a node.
#[derive(Clone, Copy, Debug)]
pub struct RegisteredNode {
    /// Its number.
    pub id: u64,
    /// Its IPv4 and its IPv6 address.
    pub addresses: [IpAddr; 2],
}

impl Administration {
    /// Makes a tailnet with so many people, and a key for each.
    ///
    /// # Errors
    ///
    /// What the server says.
    pub async fn begin(access: AdministratorAccess, people: usize) -> Result<Self> {
        let tailnet = match access {
            AdministratorAccess::Owners(channels) => {
                AdministeredTailnet::Owned(Box::new(OwnedTailnet::begin(*channels).await?))
            }
            AdministratorAccess::Headscale(api) => AdministeredTailnet::Headscale(api),
        };
        let mut administration = Self {
            auth_keys: Vec::new(),
            tailnet,
        };
        for person in 0..people {
            let key = match &mut administration.tailnet {
                AdministeredTailnet::Owned(tailnet) => tailnet.add_person().await?,
                AdministeredTailnet::Headscale(api) => api.add_person(person).await?,
            };
            administration.auth_keys.push(key);
        }
        Ok(administration)
    }

    /// Puts a plan in force.
    ///
    /// # Errors
    ///
    /// What the server says.
    pub async fn set_policy(&self, plan: &AccessPlan) -> Result<()> {
        match &self.tailnet {
            AdministeredTailnet::Owned(tailnet) => tailnet.set_policy(plan).await,
            AdministeredTailnet::Headscale(api) => api.set_policy(plan).await,
        }
    }

    /// Returns the nodes, by key.
    ///
    /// # Errors
    ///
    /// What the server says.
    pub async fn nodes(&self) -> Result<BTreeMap<NodePublic, RegisteredNode>> {
        match &self.tailnet {
            AdministeredTailnet::Owned(tailnet) => tailnet.nodes().await,
            AdministeredTailnet::Headscale(api) => api.nodes().await,
        }
    }

    /// Changes how a node stands.
    ///
    /// # Errors
    ///
    /// What the server says.
    pub async fn change_node(&self, node_id: u64, change: NodeChange) -> Result<()> {
        match &self.tailnet {
            AdministeredTailnet::Owned(tailnet) => tailnet.change_node(node_id, change).await,
            AdministeredTailnet::Headscale(api) => api.change_node(node_id, change).await,
        }
    }

    /// Suspends a person with all nodes.
    ///
    /// # Errors
    ///
    /// What the server says.
    pub async fn suspend_person(&self, person: usize) -> Result<()> {
        match &self.tailnet {
            AdministeredTailnet::Owned(tailnet) => tailnet.suspend_person(person).await,
            AdministeredTailnet::Headscale(_) => anyhow::bail!("headscale suspends nobody"),
        }
    }

    /// Returns how a node stands for its peers after a change.
    pub fn standing_after(&self, change: NodeChange) -> Standing {
        match (&self.tailnet, change) {
            (AdministeredTailnet::Headscale(_), NodeChange::Expire) => Standing::Ended,
            _ => Standing::Revoked,
        }
    }

    /// Says whether the server learns the path-discovery key of a node from its stream, and not only from a report.
    pub fn is_told_by_streams(&self) -> bool {
        matches!(self.tailnet, AdministeredTailnet::Headscale(_))
    }
}
