//! Whom the relay serves: asked of the registry, remembered briefly.
//!
//! Only a yes is remembered, so that unknown keys can not crowd out known ones. A yes is good for half of
//! [`Limits::admission_ttl`], and connections are asked about again as often: together a node that lost its admission
//! is cut within the whole of it. While nobody can be asked an older yes still counts, up to [`Limits::unasked`]; a no
//! forgets it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bowline_ids::{NodeOwner, TailnetId};
use bowline_keys::NodePublic;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::Limits;

/// Questions under way at once; more wait within the handshake's time.
const MAX_ASKING: usize = 64;
/// Time one question may take before it counts as unanswered.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// How a node is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmittedNode {
    /// It reaches nodes of this tailnet alone.
    pub tailnet: TailnetId,
    /// Who answers for it: where there are not enough places the owner with most gives one.
    pub owner: NodeOwner,
}

/// An answer to whether a node is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdmissionVerdict {
    /// It is served.
    Allowed(AdmittedNode),
    /// It is not: unknown, expired, unapproved, revoked, or its user is suspended.
    Refused,
    /// Nobody could be asked: served only if it was before.
    Unknown,
}

/// Knows which nodes the relay serves.
#[async_trait]
pub trait NodeAdmission: Send + Sync {
    /// Answers whether `node`, whose key the client at `source` has proven to hold, is served. Called again
    /// while it is connected. An answer later than 5 s counts as [`AdmissionVerdict::Unknown`].
    async fn judge_node(&self, node: NodePublic, source: IpAddr) -> AdmissionVerdict;
}

/// Serves everyone, as nodes of one owner: for tests and closed networks.
#[derive(Clone, Debug)]
pub struct AllowAll(pub AdmittedNode);

#[async_trait]
impl NodeAdmission for AllowAll {
    async fn judge_node(&self, _node: NodePublic, _source: IpAddr) -> AdmissionVerdict {
        AdmissionVerdict::Allowed(self.0.clone())
    }
}

/// A yes that is remembered.
struct RememberedNode {
    how: AdmittedNode,
    at: Instant,
}

/// Asks a [`NodeAdmission`] and remembers whom it allowed.
pub(crate) struct AdmissionCache {
    admission: Arc<dyn NodeAdmission>,
    asking: Semaphore,
    allowed: Mutex<HashMap<NodePublic, RememberedNode>>,
    capacity: usize,
    fresh: Duration,
    unasked: Duration,
}

impl AdmissionCache {
    pub(crate) fn new(admission: Arc<dyn NodeAdmission>, limits: &Limits) -> Self {
        Self {
            admission,
            asking: Semaphore::new(MAX_ASKING),
            allowed: Mutex::default(),
            capacity: limits.remembered_nodes,
            fresh: limits.admission_ttl / 2,
            unasked: limits.unasked,
        }
    }

    /// Returns how a node that connects is served; `None` when it is not.
    pub(crate) async fn admit_node(
        &self,
        node: NodePublic,
        source: IpAddr,
    ) -> Option<AdmittedNode> {
        match self.recall_node(node, self.fresh) {
            Some(how) => Some(how),
            None => self.admit_again(node, source).await,
        }
    }

    /// Returns how a connected node is served on; asks anew.
    pub(crate) async fn admit_again(
        &self,
        node: NodePublic,
        source: IpAddr,
    ) -> Option<AdmittedNode> {
        match self.ask_admission(node, source).await {
            AdmissionVerdict::Allowed(how) => {
                self.remember_node(node, how.clone());
                Some(how)
            }
            AdmissionVerdict::Refused => {
                self.lock_remembered().remove(&node);
                None
            }
            AdmissionVerdict::Unknown => self.recall_node(node, self.unasked),
        }
    }

    async fn ask_admission(&self, node: NodePublic, source: IpAddr) -> AdmissionVerdict {
        let Ok(_turn) = self.asking.acquire().await else {
            return AdmissionVerdict::Unknown;
        };
        timeout(ASK_TIMEOUT, self.admission.judge_node(node, source))
            .await
            .unwrap_or(AdmissionVerdict::Unknown)
    }

    fn remember_node(&self, node: NodePublic, how: AdmittedNode) {
        let mut allowed = self.lock_remembered();
        if allowed.len() >= self.capacity && !allowed.contains_key(&node) {
            let oldest = allowed
                .iter()
                .min_by_key(|(_, allowed)| allowed.at)
                .map(|(node, _)| *node);
            oldest.map(|node| allowed.remove(&node));
        }
        let at = Instant::now();
        allowed.insert(node, RememberedNode { how, at });
    }

    /// Returns a yes that is younger than `age`.
    fn recall_node(&self, node: NodePublic, age: Duration) -> Option<AdmittedNode> {
        let remembered = self.lock_remembered();
        let allowed = remembered.get(&node)?;
        (allowed.at.elapsed() < age).then(|| allowed.how.clone())
    }

    fn lock_remembered(&self) -> MutexGuard<'_, HashMap<NodePublic, RememberedNode>> {
        self.allowed.lock()
    }
}

#[cfg(test)]
mod tests;
