//! A device that signs, as clients do.

use std::collections::HashMap;

use bowline_proto::key_registry::v1::{
    BeginLockRequest, DisableLockRequest, FinishLockRequest, ListSignaturesOfKeyRequest,
    LockMember, Node, NodeToSign, RegisterRequest, SendLockUpdatesRequest, SignNodeKeyRequest,
    tailnet_lock_service_client::TailnetLockServiceClient,
};
use bowline_service_kit::GrpcChannel;
use bowline_tailnet_lock::{
    LockKey, LockState, LockUpdate, NodeKeySignature, NodeSignatureKind, UpdateHash, UpdateKind,
    UpdateSignature, derive_disablement_value,
};
use bowline_test_support::TestServices;
use ed25519_dalek::{Signer as _, SigningKey};
use tonic::Status;

use crate::request::with_key;

/// What switches the locks of these tests off.
pub(crate) const SECRET: &[u8] = b"a secret of thirty-two bytes ...";

pub(crate) fn locks(channel: GrpcChannel) -> TailnetLockServiceClient<GrpcChannel> {
    TailnetLockServiceClient::new(channel)
}

/// A lock key; the same for the same number.
pub(crate) struct TestSigner(SigningKey);

impl TestSigner {
    pub(crate) fn new(number: u8) -> Self {
        Self(SigningKey::from_bytes(&[number; 32]))
    }

    pub(crate) fn id(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    pub(crate) fn key(&self, votes: u64) -> LockKey {
        LockKey {
            id: self.id(),
            votes,
            metadata: [].into(),
        }
    }

    fn complete(&self, mut signature: NodeKeySignature) -> NodeKeySignature {
        let made = self.0.sign(&signature.signed_hash());
        signature.signature = Some(made.to_bytes());
        signature
    }

    pub(crate) fn direct(
        &self,
        node_key: [u8; 32],
        wrapping_key: Option<[u8; 32]>,
    ) -> NodeKeySignature {
        self.complete(NodeKeySignature {
            kind: NodeSignatureKind::Direct,
            node_key: Some(node_key),
            signer: Some(self.id()),
            signature: None,
            nested: None,
            wrapping_key,
        })
    }

    pub(crate) fn rotate(&self, nested: NodeKeySignature, node_key: [u8; 32]) -> NodeKeySignature {
        self.complete(NodeKeySignature {
            kind: NodeSignatureKind::Rotation,
            node_key: Some(node_key),
            signer: None,
            signature: None,
            nested: Some(Box::new(nested)),
            wrapping_key: None,
        })
    }

    /// What a client makes of a pre-auth key that this one has signed.
    pub(crate) fn credential_for(&self, node_key: [u8; 32]) -> NodeKeySignature {
        let carried = Self::new(123);
        let credential = self.complete(NodeKeySignature {
            kind: NodeSignatureKind::Credential,
            node_key: None,
            signer: Some(self.id()),
            signature: None,
            nested: None,
            wrapping_key: Some(carried.id()),
        });
        carried.rotate(credential, node_key)
    }
}

/// A device of a tailnet, with its lock key.
pub(crate) struct LockDevice {
    pub(crate) node: Node,
    pub(crate) signer: TestSigner,
}

impl LockDevice {
    /// Registers a device whose keys are `number` repeated.
    pub(crate) async fn register(services: &TestServices, number: u8, key: &str) -> Self {
        let signer = TestSigner::new(number);
        let request = RegisterRequest {
            lock_key: signer.id().to_vec(),
            ..with_key(number, number, key)
        };
        let node = services.register_node(request).await;
        Self { node, signer }
    }

    pub(crate) fn member(&self) -> Option<LockMember> {
        Some(LockMember {
            machine_key: self.node.machine_key.clone(),
            node_key: self.node.node_key.clone(),
        })
    }

    fn node_key(&self) -> [u8; 32] {
        self.node.node_key.clone().try_into().unwrap()
    }

    pub(crate) fn signature_of(&self, other: &Self) -> NodeKeySignature {
        self.signer
            .direct(other.node_key(), Some(other.signer.id()))
    }

    fn genesis(&self) -> LockUpdate {
        let state = LockState {
            disablement_values: vec![derive_disablement_value(SECRET).unwrap()],
            keys: vec![self.signer.key(1).into()],
            ids: (3, 4),
        };
        self.sign(UpdateKind::Checkpoint(state), None)
    }

    pub(crate) fn genesis_hash(&self) -> UpdateHash {
        self.genesis().hash()
    }

    fn sign(&self, kind: UpdateKind, parent: Option<UpdateHash>) -> LockUpdate {
        let mut update = LockUpdate {
            kind,
            parent,
            signatures: Vec::new(),
        };
        let signature = self.signer.0.sign(&update.signed_hash()).to_bytes();
        let key = self.signer.id();
        update.signatures.push(UpdateSignature { key, signature });
        update
    }

    pub(crate) fn signed_update(&self, kind: UpdateKind, parent: UpdateHash) -> LockUpdate {
        self.sign(kind, Some(parent))
    }

    pub(crate) async fn begin(&self, services: &TestServices) -> Result<Vec<NodeToSign>, Status> {
        let request = BeginLockRequest {
            member: self.member(),
            genesis: self.genesis().encode(),
        };
        let begun = locks(services.gateway()).begin_lock(request).await?;
        Ok(begun.into_inner().nodes)
    }

    pub(crate) async fn finish(
        &self,
        services: &TestServices,
        signed: &[&Self],
    ) -> Result<(), Status> {
        let sign = |other: &&Self| (other.node.id, self.signature_of(other).encode());
        let request = FinishLockRequest {
            member: self.member(),
            signatures: signed.iter().map(sign).collect::<HashMap<_, _>>(),
            support_disablement: Vec::new(),
        };
        locks(services.gateway()).finish_lock(request).await?;
        Ok(())
    }

    pub(crate) async fn switch_on(
        &self,
        services: &TestServices,
        signed: &[&Self],
    ) -> Result<(), Status> {
        self.begin(services).await?;
        self.finish(services, signed).await
    }

    pub(crate) async fn submit(
        &self,
        services: &TestServices,
        signature: &NodeKeySignature,
    ) -> Result<(), Status> {
        let request = SignNodeKeyRequest {
            member: self.member(),
            signature: signature.encode(),
        };
        locks(services.gateway()).sign_node_key(request).await?;
        Ok(())
    }

    pub(crate) async fn send(
        &self,
        services: &TestServices,
        updates: Vec<Vec<u8>>,
        interactive: bool,
    ) -> Result<String, Status> {
        let request = SendLockUpdatesRequest {
            member: self.member(),
            updates,
            interactive,
        };
        let sent = locks(services.gateway()).send_lock_updates(request).await?;
        Ok(sent.into_inner().head)
    }

    /// Adds an update after the head, as `tailscale lock add` and `remove` do.
    pub(crate) async fn update(
        &self,
        services: &TestServices,
        kind: UpdateKind,
        interactive: bool,
    ) -> Result<String, Status> {
        let head = super::get_lock(services).await.lock.unwrap().head;
        let update = self.sign(kind, UpdateHash::parse(&head));
        self.send(services, vec![update.encode()], interactive)
            .await
    }

    pub(crate) async fn disable(
        &self,
        services: &TestServices,
        secret: &[u8],
    ) -> Result<(), Status> {
        let request = DisableLockRequest {
            member: self.member(),
            disablement_secret: secret.to_vec(),
        };
        locks(services.gateway()).disable_lock(request).await?;
        Ok(())
    }

    pub(crate) async fn signatures_by(
        &self,
        services: &TestServices,
        key: &TestSigner,
    ) -> Vec<Vec<u8>> {
        let request = ListSignaturesOfKeyRequest {
            member: self.member(),
            key_id: key.id().to_vec(),
        };
        let listed = locks(services.gateway())
            .list_signatures_of_key(request)
            .await;
        listed.unwrap().into_inner().signatures
    }
}
