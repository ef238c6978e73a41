//! Signatures of node keys.

use bowline_db::Mutation;
use bowline_proto::key_registry::v1::{ListSignaturesOfKeyRequest, Node, SignNodeKeyRequest};
use bowline_tailnet_lock::{
    LockLog, NodeKeyAuthorization, NodeKeySignature, NodeSignatureError, RotationDetails,
};
use serde_json::json;

use super::{AskingNode, LockInForce, TailnetLocks, logs::find_lock_again};
use crate::{
    actors::machine_actor,
    domain::{lock, pace::SIGNATURES, routes},
    error::RegistryError,
    node_changes,
    store::{locks, nodes},
};

/// A signature that a node has sent.
struct SentSignature {
    member: AskingNode,
    node_key: [u8; 32],
    signature: Vec<u8>,
}

impl TailnetLocks {
    /// Takes the signature of a node's key.
    pub(crate) async fn sign_node_key(
        &self,
        request: SignNodeKeyRequest,
    ) -> Result<(), RegistryError> {
        let member = self.find_member(request.member).await?;
        let signature = request.signature;
        let decoded = NodeKeySignature::decode(&signature)
            .map_err(|error| refuse(&NodeSignatureError::from(error)))?;
        let node_key = decoded
            .node_key
            .ok_or_else(|| refuse(&NodeSignatureError::Credential))?;
        let known = self.require_lock(member.tailnet).await?;
        let (tailnet, actor) = (member.tailnet, machine_actor(&member.node.machine_key));
        let sent = SentSignature {
            member,
            node_key,
            signature,
        };
        // What is refused, or changes nothing, keeps nobody else from writing.
        let found = nodes::by_key(self.log.database().reader(), &node_key).await?;
        let before = require_signed_node(&sent, found)?;
        check_sent(&sent, &before, &known)?;
        if before.key_signature == sent.signature {
            return Ok(());
        }
        let signing = self.log.mutate(tailnet, actor, move |mutation| {
            Box::pin(sign(mutation, sent, known))
        });
        signing.await?;
        Ok(())
    }

    /// Lists the signatures of nodes' present keys that rest on a trusted key.
    pub(crate) async fn list_signatures(
        &self,
        request: ListSignaturesOfKeyRequest,
    ) -> Result<Vec<Vec<u8>>, RegistryError> {
        let member = self.find_member(request.member).await?;
        let LockInForce { log, .. } = self.require_lock(member.tailnet).await?;
        if !member.node.may_take_part(false) || !is_own_key_trusted(&member, &log) {
            let text = "signatures are listed for devices whose own key tailnet lock trusts, and that take part in the network: ask on one \
                        that `tailscale lock` says is trusted";
            return Err(RegistryError::Refused(text.to_owned()));
        }
        let reader = self.log.database().reader();
        let (tailnet, key) = (member.tailnet.get(), &request.key_id);
        let found = locks::nodes_signed_by(reader, tailnet, key).await?;
        let is_good = |node: &Node| !lock::lacks_signature(node, log.state());
        let good = found.into_iter().filter(is_good);
        let signatures: Vec<_> = good.map(|node| node.key_signature).collect();
        if !lock::is_readable_list(&signatures) {
            let text = format!(
                "the signatures of {} devices rest on this key, and clients read no list as long as theirs: sign some devices with another \
                 key first",
                signatures.len()
            );
            return Err(RegistryError::Refused(text));
        }
        Ok(signatures)
    }
}

fn refuse(error: &NodeSignatureError) -> RegistryError {
    RegistryError::Refused(format!(
        "{error}: sign the device with `tailscale lock sign` on a node whose key is trusted"
    ))
}

fn is_own_key_trusted(member: &AskingNode, log: &LockLog) -> bool {
    let own = member.node.lock_key.as_slice().try_into();
    own.is_ok_and(|own| log.is_trusted(own))
}

/// Returns the node that was signed, where it is one of the tailnet.
fn require_signed_node(sent: &SentSignature, found: Option<Node>) -> Result<Node, RegistryError> {
    let tailnet = sent.member.tailnet.get();
    found
        .filter(|node| node.tailnet_id == tailnet)
        .ok_or_else(|| {
            let text = "no device of this network has the node key that was signed: look at `bowline lock status` for the keys that wait";
            RegistryError::Refused(text.to_owned())
        })
}

/// Checks a signature for a node.
///
/// Every device sees the signatures of the others. One that was replaced, because the key that made it is to be removed or
/// because it names another rotation key, is still good; so a good signature is replaced by nobody but a device whose own
/// key made the new one, and which could make it anew at any time. Clients send what they have signed themselves: `tailscale
/// lock sign` and `lock remove` alike.
fn check_sent(
    sent: &SentSignature,
    before: &Node,
    lock: &LockInForce,
) -> Result<NodeKeyAuthorization, RegistryError> {
    let state = lock.log.state();
    let authorization = lock::check_direct_signature(&sent.signature, &before.node_key, state)
        .map_err(|error| refuse(&error))?;
    let replaces = before.key_signature != sent.signature && !lock::lacks_signature(before, state);
    if replaces && sent.member.node.lock_key != authorization.signer {
        let text = "this device is signed already: only the device whose own key makes another signature can send it";
        return Err(RegistryError::Refused(text.to_owned()));
    }
    Ok(authorization)
}

async fn sign(
    mutation: &mut Mutation,
    sent: SentSignature,
    known: LockInForce,
) -> Result<(), RegistryError> {
    sent.member.check_again(mutation).await?;
    let lock = find_lock_again(mutation, &known).await?;
    let found = nodes::by_key(mutation.connection(), &sent.node_key).await?;
    let before = require_signed_node(&sent, found)?;
    let authorization = check_sent(&sent, &before, &lock)?;
    if before.key_signature == sent.signature {
        return Ok(());
    }
    let member = &sent.member;
    member.take_turn(mutation, "signatures", SIGNATURES).await?;
    let node = Node {
        key_signature: sent.signature,
        awaits_signature: false,
        ..before.clone()
    };
    node_changes::write_node(mutation, &node, None).await?;
    if routes::may_move_primaries(&before, &node) {
        node_changes::elect_primaries(mutation).await?;
    }
    let detail = json!({
        "name": node.name,
        "signer": hex::encode(authorization.signer),
        "waited": before.awaits_signature,
    });
    mutation.record_audit("node.sign", node.id.to_string(), &detail);
    Ok(())
}

/// Returns another node of the tailnet that has a key of which a rotation takes the place: clients would drop that node
/// without a word.
pub(crate) async fn find_present_holder(
    mutation: &mut Mutation,
    rotation: &RotationDetails,
    own: Option<u64>,
) -> Result<Option<Node>, RegistryError> {
    let tailnet = mutation.tailnet().get();
    for former in &rotation.former_keys {
        let holder = nodes::by_key(mutation.connection(), former).await?;
        let is_other = |node: &Node| node.tailnet_id == tailnet && Some(node.id) != own;
        if let Some(holder) = holder.filter(is_other) {
            return Ok(Some(holder));
        }
    }
    Ok(None)
}

/// Returns another node in use that clients would show in the place of one with this rotation, or drop with it.
pub(crate) async fn find_same_wrapping_key(
    mutation: &mut Mutation,
    authorization: &NodeKeyAuthorization,
    rotation: &RotationDetails,
    own: Option<u64>,
) -> Result<Option<Node>, RegistryError> {
    let tailnet = mutation.tailnet().get();
    let signer = &authorization.signer;
    let found = locks::nodes_signed_by(mutation.connection(), tailnet, signer).await?;
    let outdoes = |node: &Node| {
        let other = lock::rotation_of(node);
        let outdoes = other.is_some_and(|other| lock::is_outdone(rotation, &other));
        outdoes && Some(node.id) != own && !node.expired
    };
    Ok(found.into_iter().find(outdoes))
}
