//! Which node a registrant is: the one whose key it names as its last, one that comes back, or a new one.

use bowline_db::Mutation;
use bowline_proto::key_registry::v1::Node;

use super::bind::BindRequest;
use crate::{
    domain::rotation::{self, KeyProof, Registrant, RotationRefusal, RotationVerdict},
    error::RegistryError,
    store::{barred_users, node_keys, nodes},
};

/// Which node a registrant is.
pub(super) enum RegistrantNode {
    /// One that its machine holds.
    Same(Box<Node>),
    /// A new one; another that is in use with the same machine key, if there is one.
    New { shared_with: Option<Box<Node>> },
}

impl RegistrantNode {
    /// Returns the node that there is already.
    pub(super) fn known(&self) -> Option<&Node> {
        match self {
            Self::Same(node) => Some(node),
            Self::New { .. } => None,
        }
    }
}

/// Finds the node that a registrant is, or refuses it.
pub(super) async fn find_node(
    mutation: &mut Mutation,
    bind_request: &BindRequest,
    registrant: &Registrant,
    has_node: bool,
) -> Result<Result<RegistrantNode, RotationRefusal>, RegistryError> {
    let (request, now) = (&bind_request.request, mutation.now());
    let old = match request.old_node_key.len() {
        32 => nodes::by_key(mutation.connection(), &request.old_node_key).await?,
        _ => None,
    };
    if let Some(old) = old {
        let proof = KeyProof {
            machine_key: &request.machine_key,
            node_key: &request.node_key,
            proven_keys: &request.proven_node_keys,
            is_required: bind_request.credential.tailnet.require_key_proof,
        };
        // That the registrant's own user is in good standing was said by identity a moment ago.
        let is_barred = old.user_id != registrant.owner.user_id
            && barred_users::is_barred(mutation.connection(), &old).await?;
        match rotation::judge_rotation(&old, proof, registrant, is_barred, now) {
            RotationVerdict::Replaces => return Ok(Ok(RegistrantNode::Same(Box::new(old)))),
            RotationVerdict::Refused(refusal) => return Ok(Err(refusal)),
            RotationVerdict::NewNode => {}
        }
    }
    if !has_node {
        return Ok(Ok(RegistrantNode::New { shared_with: None }));
    }
    let former_holder = find_former_holder(mutation, bind_request).await?;
    let (tailnet, machine) = (registrant.owner.tailnet_id, &request.machine_key);
    let on = mutation.connection();
    let mut found = nodes::of_machine(on, tailnet, machine, former_holder, now).await?;
    for candidate in &mut found {
        candidate.is_user_barred &= candidate.node.user_id != registrant.owner.user_id;
    }
    Ok(Ok(
        match rotation::find_returning_node(&found, registrant, former_holder, now) {
            Some(node) => RegistrantNode::Same(Box::new(node.clone())),
            None => {
                let shared_with =
                    rotation::find_live_duplicate(&found, registrant, &request.old_node_key);
                RegistrantNode::New {
                    shared_with: shared_with.cloned().map(Box::new),
                }
            }
        },
    ))
}

/// Returns the number of the machine's node that had the key which a registrant names as its last.
async fn find_former_holder(
    mutation: &mut Mutation,
    bind_request: &BindRequest,
) -> Result<Option<u64>, RegistryError> {
    let request = &bind_request.request;
    // Where proof of both keys is asked for, nobody can give it for a key that is lost.
    if request.old_node_key.len() != 32 || bind_request.credential.tailnet.require_key_proof {
        return Ok(None);
    }
    let (on, machine) = (mutation.connection(), &request.machine_key);
    let holder = node_keys::holder_of_key(on, &request.old_node_key, machine).await?;
    let holder = holder.filter(|holder| holder.machine_key == *machine);
    Ok(holder.map(|holder| holder.node_id))
}
