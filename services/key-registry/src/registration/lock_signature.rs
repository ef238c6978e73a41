//! Tailnet lock at a registration: the signature that a client sends, or that it can rotate by itself.

use bowline_db::{ChangeLog, Mutation};
use bowline_proto::key_registry::v1::{
    Node, RefusalReason, RegisterRequest, SignatureToRotate, register_response::Outcome,
};
use bowline_tailnet_lock::LockLog;
use serde_json::json;

use super::{answers::refuse, limits};
use crate::{
    actors::machine_actor,
    domain::{lock, pace, rotation::KeyOwner, routes},
    error::RegistryError,
    fields::read_tailnet_id,
    node_changes,
    store::{adoptions, nodes, paces},
    tailnet_lock::{
        LOCK_LEVEL, LockInForce, find_lock, find_present_holder, find_same_wrapping_key,
    },
};

/// What a new node key is given.
#[derive(Clone, Debug, Default)]
pub(super) struct KeySignature {
    signature: Vec<u8>,
    is_awaited: bool,
}

/// Judges what a client says of a new node key, which `found` has from now on where that is a node already. The error is the answer.
pub(super) async fn judge_signature(
    mutation: &mut Mutation,
    request: &RegisterRequest,
    owner: Option<&KeyOwner>,
    found: Option<&Node>,
) -> Result<Result<KeySignature, Outcome>, RegistryError> {
    let Some(LockInForce { log, .. }) = find_lock(mutation).await? else {
        return Ok(Ok(KeySignature::default()));
    };
    let refused = |text: String| refuse(RefusalReason::KeySignatureInvalid, text);
    let own = found.map(|node| node.id);
    if let Some(other) = find_other_claim(mutation, &log, request, own).await? {
        audit_refusal(mutation, "has the lock key", request, &other).await?;
        let text = "another device of this network has the same tailnet lock key as this one, and the key is trusted: most likely its state \
                    was copied. Remove the other device, or delete the state of this one and let it log in anew";
        return Ok(Err(refused(text.to_owned())));
    }
    if request.key_signature.is_empty() {
        let is_same_owner = |node: &Node| owner.is_some_and(|owner| is_owner(owner, node));
        let old = found.filter(|node| node.node_key == request.old_node_key && is_same_owner(node));
        let rotatable =
            old.and_then(|old| lock::find_rotatable(old, &request.lock_key, log.state()));
        if let Some(signature) = rotatable {
            let rotate = SignatureToRotate { signature };
            return Ok(Err(Outcome::SignatureToRotate(rotate)));
        }
        return Ok(Ok(KeySignature {
            signature: Vec::new(),
            is_awaited: true,
        }));
    }
    let signature = request.key_signature.clone();
    let checked = lock::check_signature(&signature, &request.node_key, log.state());
    let authorization = match checked {
        Ok(authorization) => authorization,
        Err(error) => {
            let text = format!(
                "tailnet lock does not let this device in by what it brought: {error}. Take an auth key that `tailscale lock sign` has \
                 signed on a node whose key is trusted, or one that is not signed at all, and sign the device afterwards"
            );
            return Ok(Err(refused(text)));
        }
    };
    if let Some(rotation) = &authorization.rotation {
        if let Some(other) = find_present_holder(mutation, rotation, own).await? {
            audit_refusal(mutation, "has the key that is replaced", request, &other).await?;
            let text = "the signature takes the place of the key of another device, which has it still: most likely a disk was copied, log \
                        out on one of the two devices";
            return Ok(Err(refused(text.to_owned())));
        }
        let outdoing = find_same_wrapping_key(mutation, &authorization, rotation, own).await?;
        if let Some(other) = outdoing {
            // Clients would drop one of the two, or both. A direct signature ends that.
            audit_refusal(mutation, "has the same rotation key", request, &other).await?;
            return Ok(Ok(KeySignature {
                signature: Vec::new(),
                is_awaited: true,
            }));
        }
    }
    Ok(Ok(KeySignature {
        signature,
        is_awaited: false,
    }))
}

fn is_owner(owner: &KeyOwner, node: &Node) -> bool {
    owner.user_id == node.user_id && owner.tags.is_empty() == node.tags.is_empty()
}

/// Returns a node of another machine that has the lock key of a request, where that key is trusted. What a client says of its
/// lock key is not proven, and a trusted key may do more than others.
async fn find_other_claim(
    mutation: &mut Mutation,
    log: &LockLog,
    request: &RegisterRequest,
    own: Option<u64>,
) -> Result<Option<Node>, RegistryError> {
    let key = request.lock_key.as_slice().try_into();
    if !key.is_ok_and(|key| log.is_trusted(key)) {
        return Ok(None);
    }
    let tailnet = mutation.tailnet().get();
    let found = nodes::of_tailnet(mutation.connection(), tailnet).await?;
    let is_other = |node: &Node| {
        node.lock_key == request.lock_key
            && node.machine_key != request.machine_key
            && Some(node.id) != own
    };
    Ok(found.into_iter().find(is_other))
}

/// Tells administrators, once in a while for each node, of the other device with which one collides: the device itself may
/// not be shown it.
async fn audit_refusal(
    mutation: &mut Mutation,
    reason: &str,
    request: &RegisterRequest,
    other: &Node,
) -> Result<(), RegistryError> {
    let (tailnet, now) = (mutation.tailnet().get(), mutation.now());
    let maker = format!("lock-refusals:{}", other.id);
    let rested_at = paces::rested_at(mutation.connection(), tailnet, &maker).await?;
    let next = pace::next_rest(pace::AUDITED_REFUSALS, rested_at.unwrap_or(now), now);
    let Ok(rested_at) = next else {
        return Ok(());
    };
    paces::put_rest(mutation.connection(), tailnet, &maker, rested_at, now).await?;
    let detail = json!({
        "name": other.name,
        "reason": reason,
        "machine": machine_actor(&request.machine_key),
        "source": request.source_address,
    });
    mutation.record_audit("node.signature_refused", other.id.to_string(), &detail);
    Ok(())
}

/// Gives a node what was judged of its new key.
pub(super) fn set_signature(node: &mut Node, request: &RegisterRequest, judged: &KeySignature) {
    node.key_signature.clone_from(&judged.signature);
    node.awaits_signature = judged.is_awaited;
    if is_lock_key(&request.lock_key) {
        node.lock_key.clone_from(&request.lock_key);
    }
}

/// Says whether a request for a key that is bound brings something for tailnet lock that the node lacks.
pub(super) fn brings_lock_facts(node: &Node, request: &RegisterRequest) -> bool {
    let has_other_key = is_lock_key(&request.lock_key) && request.lock_key != node.lock_key;
    has_other_key || node.awaits_signature && !request.key_signature.is_empty()
}

/// Takes out of a request what a process of an earlier release would lose.
pub(super) fn reduce_to_level(request: &mut RegisterRequest, level: u32) {
    if level < LOCK_LEVEL {
        request.lock_key.clear();
    }
}

/// Keeps what a request for a bound key brings for tailnet lock. A signature that is not good changes nothing: the key is
/// bound in any case, and the node waits on.
pub(super) async fn keep_lock_facts(
    log: &ChangeLog,
    node: Node,
    request: &RegisterRequest,
) -> Result<(Node, u64), RegistryError> {
    let tailnet = read_tailnet_id(node.tailnet_id)?;
    let actor = machine_actor(&node.machine_key);
    let request = request.clone();
    let keeping = log.mutate(tailnet, actor, move |mutation| {
        Box::pin(keep(mutation, node, request))
    });
    let (node, revision) = keeping.await?;
    Ok((node, revision.get()))
}

async fn keep(
    mutation: &mut Mutation,
    known: Node,
    request: RegisterRequest,
) -> Result<Node, RegistryError> {
    let found = nodes::by_key(mutation.connection(), &known.node_key).await?;
    let Some(before) = found.filter(|node| node.id == known.id) else {
        return Ok(known);
    };
    // Counted whatever comes of it: the whole log is read.
    let asked = match limits::take_rotation(mutation, &before).await {
        Ok(asked) => asked,
        // It brings the same with its next start.
        Err(RegistryError::TooOften { .. }) => return Ok(before),
        Err(error) => return Err(error),
    };
    adoptions::put_row(mutation.connection(), &asked).await?;
    let mut node = before.clone();
    if let Ok(judged) = judge_signature(mutation, &request, None, Some(&before)).await? {
        if is_lock_key(&request.lock_key) {
            node.lock_key.clone_from(&request.lock_key);
        }
        if before.awaits_signature && !judged.signature.is_empty() {
            node.key_signature = judged.signature;
            node.awaits_signature = false;
        }
    }
    if node == before {
        return Ok(node);
    }
    node_changes::write_node(mutation, &node, None).await?;
    if routes::may_move_primaries(&before, &node) {
        node_changes::elect_primaries(mutation).await?;
    }
    let detail = json!({
        "name": node.name,
        "signed": before.awaits_signature && !node.awaits_signature,
    });
    mutation.record_audit("node.lock_key", node.id.to_string(), &detail);
    Ok(node)
}

fn is_lock_key(bytes: &[u8]) -> bool {
    bytes.len() == 32 && bytes.iter().any(|byte| *byte != 0)
}
