//! Tailnet lock at a registration: the signature that a client sends, or that it can rotate by itself.

use bowline_db::{ChangeLog, Mutation};
use bowline_proto::key_registry::v1::{
    Node, RefusalReason, RegisterRequest, SignatureToRotate, register_response::Outcome,
};
use serde_json::json;

use super::{answers::refuse, limits};
use crate::{
    actors::machine_actor,
    domain::{lock, routes},
    error::RegistryError,
    fields::read_tailnet_id,
    node_changes,
    store::{adoptions, nodes},
    tailnet_lock::{LOCK_LEVEL, LockInForce, check_former_keys, find_lock},
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
    found: Option<&Node>,
) -> Result<Result<KeySignature, Outcome>, RegistryError> {
    let Some(LockInForce { log, .. }) = find_lock(mutation).await? else {
        return Ok(Ok(KeySignature::default()));
    };
    if request.key_signature.is_empty() {
        let old = found.filter(|node| node.node_key == request.old_node_key);
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
    let refused = |text: String| refuse(RefusalReason::KeySignatureInvalid, text);
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
    let own = found.map(|node| node.id);
    match check_former_keys(mutation, &authorization, own).await {
        Ok(()) => {}
        Err(RegistryError::Refused(text)) => return Ok(Err(refused(text))),
        Err(error) => return Err(error),
    }
    Ok(Ok(KeySignature {
        signature,
        is_awaited: false,
    }))
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
    let mut node = before.clone();
    if is_lock_key(&request.lock_key) {
        node.lock_key.clone_from(&request.lock_key);
    }
    let judged = match request.key_signature.is_empty() {
        true => None,
        false => judge_signature(mutation, &request, Some(&before))
            .await?
            .ok(),
    };
    if let Some(judged) = judged.filter(|judged| !judged.signature.is_empty()) {
        node.key_signature = judged.signature;
        node.awaits_signature = false;
    }
    if node == before {
        return Ok(node);
    }
    let asked = match limits::take_rotation(mutation, &before).await {
        Ok(asked) => asked,
        // It brings the same with its next start.
        Err(RegistryError::TooOften { .. }) => return Ok(before),
        Err(error) => return Err(error),
    };
    adoptions::put_row(mutation.connection(), &asked).await?;
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
