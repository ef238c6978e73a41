//! What tailnet lock means for a node.

use bowline_proto::key_registry::v1::Node;
use bowline_tailnet_lock::{
    KeyId, LockState, NodeKeyAuthorization, NodeKeySignature, NodeSignatureError,
    NodeSignatureKind, RotationDetails,
};

/// The most nodes of a tailnet that switches its lock on: their signatures come in one request.
pub const MOST_NODES: usize = 3000;
/// The longest list of signatures that a client reads, as base64.
const LONGEST_LIST: usize = 1_000_000;

/// Returns the key on which a node's signature rests. Only signatures that were good when they came are kept.
pub fn signer_of(node: &Node) -> Option<KeyId> {
    let signature = NodeKeySignature::decode(&node.key_signature).ok()?;
    signature.authorizing_key()
}

/// Says whether a node has no signature that rests on a trusted key.
pub fn lacks_signature(node: &Node, state: &LockState) -> bool {
    signer_of(node).is_none_or(|signer| state.find_key(&signer).is_none())
}

/// Returns the signature of a node's present key, where the client that has a lock key can rotate it by itself.
pub fn find_rotatable(node: &Node, lock_key: &[u8], state: &LockState) -> Option<Vec<u8>> {
    if lacks_signature(node, state) {
        return None;
    }
    let signature = NodeKeySignature::decode(&node.key_signature).ok()?;
    let wrapping_key = signature.wrapping_key()?;
    (wrapping_key == lock_key).then(|| node.key_signature.clone())
}

/// Says whether a client reads a list of these signatures.
pub fn is_readable_list(signatures: &[Vec<u8>]) -> bool {
    let lengths = signatures.iter().map(|bytes| bytes.len() * 4 / 3 + 8);
    lengths.sum::<usize>() <= LONGEST_LIST
}

/// Checks a signature of a node key.
///
/// # Errors
///
/// It does not authorise the key.
pub fn check_signature(
    signature: &[u8],
    node_key: &[u8],
    state: &LockState,
) -> Result<NodeKeyAuthorization, NodeSignatureError> {
    let decoded = NodeKeySignature::decode(signature)?;
    let node_key: &[u8; 32] = node_key
        .try_into()
        .map_err(|_| NodeSignatureError::OtherNodeKey)?;
    let authorization = decoded.authorize(node_key, state)?;
    let former = authorization.rotation.iter();
    if former
        .flat_map(|rotation| &rotation.former_keys)
        .any(|former| former == node_key)
    {
        return Err(NodeSignatureError::ReplacesItself);
    }
    Ok(authorization)
}

/// Checks a signature that somebody else than the node made for it: a trusted key signs the node key itself. Rotations are
/// made by clients for themselves, and come with a registration.
///
/// # Errors
///
/// It does not authorise the key, or is of another kind.
pub fn check_direct_signature(
    signature: &[u8],
    node_key: &[u8],
    state: &LockState,
) -> Result<NodeKeyAuthorization, NodeSignatureError> {
    let authorization = check_signature(signature, node_key, state)?;
    match authorization.rotation {
        None => Ok(authorization),
        Some(_) => Err(NodeSignatureError::NotDirect),
    }
}

/// Returns what a node's signature rests on, where that is a rotation.
pub fn rotation_of(node: &Node) -> Option<RotationDetails> {
    let signature = NodeKeySignature::decode(&node.key_signature).ok()?;
    signature.rotation_details()
}

/// Says whether clients would show the other node, or neither, of two whose signatures are rotations: those that began with
/// a direct signature and are made by one key are for them one node, of which the longest rotation counts.
pub fn is_outdone(own: &RotationDetails, other: &RotationDetails) -> bool {
    own.first_kind == NodeSignatureKind::Direct
        && other.first_kind == NodeSignatureKind::Direct
        && own.first_wrapping_key == other.first_wrapping_key
        && other.former_keys.len() >= own.former_keys.len()
}
