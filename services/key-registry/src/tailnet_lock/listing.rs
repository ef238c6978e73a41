//! What administrators are shown of a lock.

use bowline_ids::TailnetId;
use bowline_proto::key_registry::v1::{
    GetLockResponse, LockLogEntry, LockedOutNode, Node, TailnetLock, TrustedKey,
};
use bowline_tailnet_lock::{LockKey, LockUpdate, MOST_UPDATES};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;

use super::{LockInForce, TailnetLocks, describe_row, updates::key_of};
use crate::{
    domain::{lock::signer_of, to_timestamp},
    error::RegistryError,
    store::{
        locks::{self, LockPhase},
        nodes,
    },
};

/// How many updates are listed where nobody says.
const USUAL_UPDATES: usize = 100;

impl TailnetLocks {
    /// Describes the lock of a tailnet.
    pub(crate) async fn get_lock(
        &self,
        tailnet: TailnetId,
    ) -> Result<GetLockResponse, RegistryError> {
        let reader = self.log.database().reader();
        let row = locks::newest(reader, tailnet.get(), false).await?;
        let most_updates = u32::try_from(MOST_UPDATES).unwrap_or(u32::MAX);
        let Some(row) = row else {
            return Ok(GetLockResponse {
                lock: Some(TailnetLock::default()),
                most_updates,
                ..GetLockResponse::default()
            });
        };
        let described = GetLockResponse {
            lock: Some(describe_row(&row)),
            since: row.since.map(to_timestamp),
            most_updates,
            ..GetLockResponse::default()
        };
        if row.phase != LockPhase::On {
            return Ok(described);
        }
        let LockInForce { log, .. } = self.require_lock(tailnet).await?;
        let nodes = nodes::of_tailnet(reader, tailnet.get()).await?;
        let mut signed: BTreeMap<[u8; 32], u32> = BTreeMap::new();
        for signer in nodes.iter().filter_map(signer_of) {
            *signed.entry(signer).or_default() += 1;
        }
        let keys = log.state().keys.iter();
        Ok(GetLockResponse {
            keys: keys
                .map(|key| describe_key(key, &nodes, signed.get(&key.id)))
                .collect(),
            waiting: nodes.iter().filter_map(describe_waiting).collect(),
            updates: u32::try_from(log.count()).unwrap_or(u32::MAX),
            ..described
        })
    }

    /// Lists the updates of a tailnet's lock that count, the newest first; none while it is not on.
    pub(crate) async fn list_updates(
        &self,
        tailnet: TailnetId,
        most: usize,
    ) -> Result<Vec<LockLogEntry>, RegistryError> {
        let row = locks::newest(self.log.database().reader(), tailnet.get(), false).await?;
        if row.is_none_or(|row| row.phase != LockPhase::On) {
            return Ok(Vec::new());
        }
        let LockInForce { row, log } = self.require_lock(tailnet).await?;
        let rows = locks::updates(self.log.database().reader(), &row).await?;
        let taken_at = rows.into_iter().filter_map(|row| {
            let update = LockUpdate::decode(&row.body).ok()?;
            Some((update.hash(), row.taken_at?))
        });
        let taken_at: BTreeMap<_, DateTime<Utc>> = taken_at.collect();
        let most = if most == 0 { USUAL_UPDATES } else { most };
        let listed = log.newest_first().take(most).map(|(hash, update)| {
            let signers = update.signatures.iter();
            LockLogEntry {
                hash: hash.to_string(),
                kind: update.kind.name().to_owned(),
                key_id: key_of(&update.kind).map(Vec::from).unwrap_or_default(),
                signers: signers.map(|one| one.key.to_vec()).collect(),
                taken_at: taken_at.get(&hash).copied().map(to_timestamp),
            }
        });
        Ok(listed.collect())
    }
}

fn describe_key(key: &LockKey, nodes: &[Node], signed: Option<&u32>) -> TrustedKey {
    let own = nodes.iter().filter(|node| node.lock_key == key.id);
    let metadata = key.metadata.iter();
    TrustedKey {
        id: key.id.to_vec(),
        votes: u32::try_from(key.votes).unwrap_or(u32::MAX),
        metadata: metadata
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        nodes: own.map(|node| node.name.clone()).collect(),
        signed_nodes: signed.copied().unwrap_or_default(),
    }
}

fn describe_waiting(node: &Node) -> Option<LockedOutNode> {
    node.awaits_signature.then(|| LockedOutNode {
        id: node.id,
        name: node.name.clone(),
        node_key: node.node_key.clone(),
        rotation_key: node.lock_key.clone(),
    })
}
