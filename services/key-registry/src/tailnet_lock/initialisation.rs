//! A lock is switched on: it is begun, and finished once there is a signature of each node.

use std::collections::HashMap;

use bowline_db::Mutation;
use bowline_proto::key_registry::v1::{
    BeginLockRequest, BeginLockResponse, BootstrapLockRequest, BootstrapLockResponse,
    FinishLockRequest, Node, NodeToSign,
};
use bowline_tailnet_lock::{LockLog, LockUpdate};
use serde_json::json;

use super::{AskingNode, TailnetLocks, add_updates, logs::run_blocking, read_log, write_lock};
use crate::{
    actors::machine_actor,
    domain::{
        lock::{self, MOST_NODES},
        pace::LOCKS,
    },
    error::RegistryError,
    node_changes,
    store::{
        locks::{self, LockPhase, LockRow},
        nodes,
    },
};

impl TailnetLocks {
    /// Begins a lock, and says which nodes need a signature.
    pub(crate) async fn begin_lock(
        &self,
        request: BeginLockRequest,
    ) -> Result<BeginLockResponse, RegistryError> {
        let member = self.find_member(request.member).await?;
        self.check_level()?;
        self.require_administrator(&member).await?;
        let turn = self.logs.take_turn().await;
        let genesis = request.genesis;
        let begin_log = move || LockUpdate::decode(&genesis).and_then(LockLog::begin);
        let log = run_blocking(begin_log).await.map_err(refuse_genesis)?;
        drop(turn);
        let (tailnet, actor) = (member.tailnet, machine_actor(&member.node.machine_key));
        let beginning = self.log.mutate(tailnet, actor, move |mutation| {
            Box::pin(begin(mutation, member, log))
        });
        let (nodes, _) = beginning.await?;
        Ok(BeginLockResponse { nodes })
    }

    /// Switches a lock on that the same node has begun.
    pub(crate) async fn finish_lock(
        &self,
        request: FinishLockRequest,
    ) -> Result<(), RegistryError> {
        let member = self.find_member(request.member).await?;
        self.check_level()?;
        self.require_administrator(&member).await?;
        if !request.support_disablement.is_empty() {
            let text = "this server keeps no secret for its operators: initialise tailnet lock without \
                        --gen-disablement-for-support, and keep the secrets that are printed";
            return Err(RegistryError::Refused(text.to_owned()));
        }
        let signatures = request.signatures;
        let (tailnet, actor) = (member.tailnet, machine_actor(&member.node.machine_key));
        let finishing = self.log.mutate(tailnet, actor, move |mutation| {
            Box::pin(finish(mutation, member, signatures))
        });
        finishing.await?;
        Ok(())
    }

    /// Says what a node needs to switch the lock on or off for itself.
    pub(crate) async fn bootstrap_lock(
        &self,
        request: BootstrapLockRequest,
    ) -> Result<BootstrapLockResponse, RegistryError> {
        let member = self.find_member(request.member).await?;
        let reader = self.log.database().reader();
        let row = locks::newest(reader, member.tailnet.get(), false).await?;
        let Some(row) = row else {
            return Ok(BootstrapLockResponse::default());
        };
        if row.phase == LockPhase::On {
            let genesis = locks::first_update(reader, &row).await?;
            return Ok(BootstrapLockResponse {
                genesis: genesis.unwrap_or_default(),
                disablement_secret: Vec::new(),
            });
        }
        Ok(BootstrapLockResponse {
            genesis: Vec::new(),
            disablement_secret: row.disablement_secret.unwrap_or_default(),
        })
    }
}

fn refuse_genesis(error: impl std::fmt::Display) -> RegistryError {
    RegistryError::invalid("genesis", format!("can not begin tailnet lock: {error}"))
}

async fn begin(
    mutation: &mut Mutation,
    member: AskingNode,
    log: LockLog,
) -> Result<Vec<NodeToSign>, RegistryError> {
    member.check_again(mutation).await?;
    member.take_turn(mutation, "locks", LOCKS).await?;
    let tailnet_id = mutation.tailnet().get();
    let before = locks::newest(mutation.connection(), tailnet_id, true).await?;
    let number = match &before {
        Some(row) if row.phase == LockPhase::On => {
            let text = "tailnet lock is on already: `tailscale lock` on a device shows it";
            return Err(RegistryError::Refused(text.to_owned()));
        }
        Some(row) if row.phase == LockPhase::Begun => row.number,
        Some(row) => row.number + 1,
        None => 1,
    };
    let found = nodes::of_tailnet(mutation.connection(), tailnet_id).await?;
    check_count(found.len())?;
    let row = LockRow {
        tailnet_id,
        number,
        phase: LockPhase::Begun,
        begun_by: member.node.id,
        head: log.head().to_string(),
        since: Some(mutation.now()),
        disablement_secret: None,
    };
    locks::clear_updates(mutation.connection(), &row).await?;
    locks::put_lock(mutation.connection(), &row).await?;
    add_updates(mutation, &row, 0, std::slice::from_ref(log.genesis())).await?;
    let detail = json!({ "node": member.node.name, "nodes": found.len() });
    mutation.record_audit("lock.begin", row.head, &detail);
    let to_sign = found.into_iter().map(|node| NodeToSign {
        node_id: node.id,
        node_key: node.node_key,
        rotation_key: node.lock_key,
    });
    Ok(to_sign.collect())
}

fn check_count(count: usize) -> Result<(), RegistryError> {
    if count > MOST_NODES {
        let text = format!(
            "the network has {count} devices: tailnet lock is switched on where there are {MOST_NODES} at most. Delete those that \
             nobody uses, or divide the network into several tailnets"
        );
        return Err(RegistryError::Refused(text));
    }
    Ok(())
}

async fn finish(
    mutation: &mut Mutation,
    member: AskingNode,
    mut signatures: HashMap<u64, Vec<u8>>,
) -> Result<(), RegistryError> {
    member.check_again(mutation).await?;
    let tailnet_id = mutation.tailnet().get();
    let begun = locks::newest(mutation.connection(), tailnet_id, true).await?;
    if is_finished(mutation, begun.as_ref(), &member, &signatures).await? {
        return Ok(());
    }
    let is_own = |row: &LockRow| row.phase == LockPhase::Begun && row.begun_by == member.node.id;
    let Some(mut row) = begun.filter(is_own) else {
        let text = "this device has begun no tailnet lock, or another one has begun one since: run `tailscale lock init` again";
        return Err(RegistryError::Refused(text.to_owned()));
    };
    let log = read_log(&locks::updates(mutation.connection(), &row).await?)?;
    let found = nodes::of_tailnet(mutation.connection(), tailnet_id).await?;
    check_count(found.len())?;
    let mut signed = Vec::with_capacity(found.len());
    let mut missing = Vec::new();
    for node in found {
        match signatures.remove(&node.id) {
            Some(signature) => signed.push(sign_for_lock(node, signature, &log)?),
            None => missing.push(node.name),
        }
    }
    if !missing.is_empty() {
        let listed = missing[..missing.len().min(10)].join(", ");
        let text = format!(
            "{} devices have joined or are not signed ({listed}): run `tailscale lock init` again",
            missing.len()
        );
        return Err(RegistryError::Refused(text));
    }
    for node in &signed {
        node_changes::write_node(mutation, node, None).await?;
    }
    row.phase = LockPhase::On;
    row.since = Some(mutation.now());
    write_lock(mutation, &row).await?;
    let keys: Vec<_> = log
        .state()
        .keys
        .iter()
        .map(|key| hex::encode(key.id))
        .collect();
    let detail = json!({ "node": member.node.name, "nodes": signed.len(), "keys": keys });
    mutation.record_audit("lock.enable", row.head, &detail);
    Ok(())
}

/// Says whether the same request was done before: its answer was lost.
async fn is_finished(
    mutation: &mut Mutation,
    lock: Option<&LockRow>,
    member: &AskingNode,
    signatures: &HashMap<u64, Vec<u8>>,
) -> Result<bool, RegistryError> {
    let is_own = |row: &LockRow| row.phase == LockPhase::On && row.begun_by == member.node.id;
    if !lock.is_some_and(is_own) || signatures.is_empty() {
        return Ok(false);
    }
    let tailnet_id = mutation.tailnet().get();
    let found = nodes::of_tailnet(mutation.connection(), tailnet_id).await?;
    let has_it = |node: &&Node| signatures.get(&node.id) == Some(&node.key_signature);
    Ok(found.iter().filter(has_it).count() == signatures.len())
}

fn sign_for_lock(node: Node, signature: Vec<u8>, log: &LockLog) -> Result<Node, RegistryError> {
    match lock::check_direct_signature(&signature, &node.node_key, log.state()) {
        Ok(_) => Ok(Node {
            key_signature: signature,
            awaits_signature: false,
            ..node
        }),
        Err(error) => {
            let text = format!(
                "the signature of {} is not good, perhaps its key has changed meanwhile: run `tailscale lock init` again ({error})",
                node.name
            );
            Err(RegistryError::Refused(text))
        }
    }
}

#[cfg(test)]
mod tests;
