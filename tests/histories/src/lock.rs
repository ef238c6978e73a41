//! Tailnet lock: the device of an administrator that signs node keys, as `tailscale lock sign` does.

use std::collections::HashMap;

use bowline_proto::key_registry::v1::{
    BeginLockRequest, FinishLockRequest, LockMember, PreAuthKey, RegisterRequest,
    SetNodeExpiryRequest, SignNodeKeyRequest, node_service_client::NodeServiceClient,
    set_node_expiry_request::Expiry, tailnet_lock_service_client::TailnetLockServiceClient,
};
use bowline_tailnet_lock::{
    LockKey, LockState, LockUpdate, NodeKeySignature, NodeSignatureKind, UpdateKind,
    UpdateSignature, derive_disablement_value,
};
use ed25519_dalek::{Signer as _, SigningKey};

use crate::{
    call::{KeyAnswer, Machine, NodeKeyNumber, PresentedCredential, RegisterCall},
    history::MACHINES,
    model::SIGNING_USER,
    services::TestReplicas,
    tailnet::{CallPath, TestedTailnet, create_key, read_done},
};

/// The machine of the device that signs.
pub const SIGNING_MACHINE: Machine = MACHINES;
/// Its node key.
pub const SIGNING_KEY: NodeKeyNumber = NodeKeyNumber::MAX;

/// Returns the lock key of the device that signs, the same in all tailnets.
fn lock_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// Switches the lock of an empty tailnet on; returns the node that signs.
pub(crate) async fn switch_on(services: &TestReplicas, tailnet: &TestedTailnet) -> u64 {
    let signer = register_signer(services, tailnet).await;
    let signature = sign_node_key(tailnet.node_key(SIGNING_KEY));
    let mut locks = TailnetLockServiceClient::new(services.gateway(0));
    let request = BeginLockRequest {
        member: member(tailnet),
        genesis: make_genesis().encode(),
    };
    locks.begin_lock(request).await.unwrap();
    let request = FinishLockRequest {
        member: member(tailnet),
        signatures: HashMap::from([(signer, signature)]),
        support_disablement: Vec::new(),
    };
    locks.finish_lock(request).await.unwrap();
    signer
}

/// Signs the key of a node.
pub(crate) async fn sign_key(
    services: &TestReplicas,
    tailnet: &TestedTailnet,
    key: NodeKeyNumber,
    path: CallPath,
) -> KeyAnswer {
    let request = SignNodeKeyRequest {
        member: member(tailnet),
        signature: sign_node_key(tailnet.node_key(key)),
    };
    let mut locks = TailnetLockServiceClient::new(services.gateway(path.replica));
    read_done(locks.sign_node_key(path.request(request)).await)
}

/// Makes the device that signs, whose key never ends.
async fn register_signer(services: &TestReplicas, tailnet: &TestedTailnet) -> u64 {
    let key = PreAuthKey {
        tailnet_id: tailnet.id,
        user_id: tailnet.user_id(SIGNING_USER),
        pre_approved: true,
        ..PreAuthKey::default()
    };
    let key = create_key(services.admin(0), key).await.unwrap();
    let call = RegisterCall {
        machine: SIGNING_MACHINE,
        node_key: SIGNING_KEY,
        old_key: None,
        credential: PresentedCredential::None,
        ephemeral: false,
        is_logout: false,
    };
    let request = RegisterRequest {
        pre_auth_key: key.secret,
        lock_key: lock_key().verifying_key().to_bytes().to_vec(),
        ..tailnet.register_request(&call, services.now())
    };
    let path = CallPath {
        replica: 0,
        looks: None,
    };
    let answer = tailnet.send_registration(services, request, path).await;
    let KeyAnswer::Registered { id, .. } = answer else {
        unreachable!("a good key lets a machine in");
    };
    let request = SetNodeExpiryRequest {
        tailnet_id: tailnet.id,
        node_id: id,
        expiry: Some(Expiry::Never(true)),
    };
    let mut nodes = NodeServiceClient::new(services.admin(0));
    nodes.set_node_expiry(request).await.unwrap();
    id
}

fn member(tailnet: &TestedTailnet) -> Option<LockMember> {
    Some(LockMember {
        machine_key: tailnet.machine_key(SIGNING_MACHINE),
        node_key: tailnet.node_key(SIGNING_KEY),
    })
}

fn make_genesis() -> LockUpdate {
    let key = lock_key().verifying_key().to_bytes();
    let trusted = LockKey {
        id: key,
        votes: 1,
        metadata: [].into(),
    };
    let state = LockState {
        disablement_values: vec![derive_disablement_value(b"nobody switches it off").unwrap()],
        keys: vec![trusted.into()],
        ids: (3, 4),
    };
    let mut genesis = LockUpdate {
        kind: UpdateKind::Checkpoint(state),
        parent: None,
        signatures: Vec::new(),
    };
    let signature = lock_key().sign(&genesis.signed_hash()).to_bytes();
    genesis.signatures.push(UpdateSignature { key, signature });
    genesis
}

fn sign_node_key(node_key: Vec<u8>) -> Vec<u8> {
    let mut signature = NodeKeySignature {
        kind: NodeSignatureKind::Direct,
        node_key: node_key.try_into().ok(),
        signer: Some(lock_key().verifying_key().to_bytes()),
        signature: None,
        nested: None,
        wrapping_key: None,
    };
    let made = lock_key().sign(&signature.signed_hash());
    signature.signature = Some(made.to_bytes());
    signature.encode()
}
