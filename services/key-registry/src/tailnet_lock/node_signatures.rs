//! Signatures of node keys.

use bowline_db::Mutation;
use bowline_proto::key_registry::v1::{ListSignaturesOfKeyRequest, Node, SignNodeKeyRequest};
use bowline_tailnet_lock::{NodeKeyAuthorization, NodeKeySignature, NodeSignatureError};
use serde_json::json;

use super::{LockInForce, TailnetLocks, find_lock, refuse_without_lock};
use crate::{
    actors::machine_actor,
    domain::{lock, routes},
    error::RegistryError,
    node_changes,
    store::{locks, nodes},
};

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
        let actor = machine_actor(&member.node.machine_key);
        let signing = self.log.mutate(member.tailnet, actor, move |mutation| {
            Box::pin(sign(mutation, node_key, signature))
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
    RegistryError::Refused(error.to_string())
}

async fn sign(
    mutation: &mut Mutation,
    node_key: [u8; 32],
    signature: Vec<u8>,
) -> Result<(), RegistryError> {
    let tailnet = mutation.tailnet().get();
    let lock = find_lock(mutation).await?;
    let LockInForce { log, .. } = lock.ok_or_else(refuse_without_lock)?;
    let found = nodes::by_key(mutation.connection(), &node_key).await?;
    let Some(before) = found.filter(|node| node.tailnet_id == tailnet) else {
        let text = "no device of this network has the node key that was signed: look at `bowline lock status` for the keys that wait";
        return Err(RegistryError::Refused(text.to_owned()));
    };
    let authorization = lock::check_signature(&signature, &before.node_key, log.state())
        .map_err(|error| refuse(&error))?;
    check_former_keys(mutation, &authorization, Some(before.id)).await?;
    if before.key_signature == signature {
        return Ok(());
    }
    let node = Node {
        key_signature: signature,
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

/// Refuses a rotation that takes the place of another node's key: clients would drop that node without a word.
pub(crate) async fn check_former_keys(
    mutation: &mut Mutation,
    authorization: &NodeKeyAuthorization,
    own: Option<u64>,
) -> Result<(), RegistryError> {
    let rotation = authorization.rotation.iter();
    for former in rotation.flat_map(|rotation| &rotation.former_keys) {
        let holder = nodes::by_key(mutation.connection(), former).await?;
        if let Some(holder) = holder.filter(|holder| Some(holder.id) != own) {
            let text = format!(
                "the signature takes the place of the key of {}, which has it still: most likely a disk was copied, log out on one of \
                 the two devices",
                holder.name
            );
            return Err(RegistryError::Refused(text));
        }
    }
    Ok(())
}
