//! Tailnet lock (protocol section 11): passes on what devices ask, and answers in their form. No verdict is made here.
//!
//! Each request names a node key; the registry heeds it only where a node of the machine that asks has it.

use axum::http::StatusCode;
use bowline_control_wire::{
    Base64Bytes, TkaBootstrapRequest, TkaBootstrapResponse, TkaDisableRequest, TkaInitBeginRequest,
    TkaInitBeginResponse, TkaInitFinishRequest, TkaSignInfo, TkaSignaturesUsingKeyRequest,
    TkaSignaturesUsingKeyResponse, TkaSubmitSignatureRequest, TkaSyncOfferRequest,
    TkaSyncOfferResponse, TkaSyncSendRequest, TkaSyncSendResponse, parse_request,
};
use bowline_keys::NodePublic;
use bowline_proto::key_registry::v1::{
    BeginLockRequest, BootstrapLockRequest, DisableLockRequest, FinishLockRequest,
    ListSignaturesOfKeyRequest, LockMember, NodeToSign, OfferLockUpdatesRequest,
    SendLockUpdatesRequest, SignNodeKeyRequest,
    tailnet_lock_service_client::TailnetLockServiceClient,
};
use bowline_service_kit::GrpcChannel;
use serde::Serialize;
use serde_json::value::RawValue;
use tonic::{Code, Status};

use super::{Machine, RequestFailure};
use crate::gateway::Gateway;

/// The longest answer of the registry: a whole log with checkpoints of many keys, or the signatures of many nodes.
const LONGEST_ANSWER: usize = 16 << 20;

/// What a device asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockCall {
    /// To begin a lock.
    Begin,
    /// To switch it on.
    Finish,
    /// For what switches it on or off for the device.
    Bootstrap,
    /// For what it misses of the log.
    Offer,
    /// To take what it has.
    Send,
    /// To switch it off.
    Disable,
    /// To take a signature.
    Sign,
    /// For the signatures that rest on a key.
    Signatures,
}

/// The addresses, below `/machine/tka/`.
pub const LOCK_CALLS: [(&str, LockCall); 8] = [
    ("init/begin", LockCall::Begin),
    ("init/finish", LockCall::Finish),
    ("bootstrap", LockCall::Bootstrap),
    ("sync/offer", LockCall::Offer),
    ("sync/send", LockCall::Send),
    ("disable", LockCall::Disable),
    ("sign", LockCall::Sign),
    ("affected-sigs", LockCall::Signatures),
];

/// An answer without content.
#[derive(Serialize)]
struct EmptyAnswer {}

type LockAnswer = Result<Box<RawValue>, RequestFailure>;

/// Answers a device.
///
/// # Errors
///
/// With the registry's text, which the client prints, and when the machine asks too often.
pub async fn answer_lock_call(
    gateway: &Gateway,
    machine: &Machine,
    call: LockCall,
    body: &[u8],
) -> LockAnswer {
    machine.refuse_in_drain()?;
    let now = tokio::time::Instant::now().into_std();
    let is_signature = call == LockCall::Sign;
    gateway
        .turns
        .take_lock_call(*machine.key.as_bytes(), is_signature, now)?;
    let client = TailnetLockServiceClient::new(gateway.backends.registry.clone());
    let asking = LockAsker {
        client: client.max_decoding_message_size(LONGEST_ANSWER),
        machine,
    };
    match call {
        LockCall::Begin => asking.begin(body).await,
        LockCall::Finish => asking.finish(body).await,
        LockCall::Bootstrap => asking.bootstrap(body).await,
        LockCall::Offer => asking.offer(body).await,
        LockCall::Send => asking.send(body).await,
        LockCall::Disable => asking.disable(body).await,
        LockCall::Sign => asking.sign(body).await,
        LockCall::Signatures => asking.signatures(body).await,
    }
}

/// A device that asks, and the registry that it asks.
struct LockAsker<'m> {
    client: TailnetLockServiceClient<GrpcChannel>,
    machine: &'m Machine,
}

impl LockAsker<'_> {
    fn member(&self, node_key: NodePublic) -> Option<LockMember> {
        Some(LockMember {
            machine_key: self.machine.key.as_bytes().to_vec(),
            node_key: node_key.as_bytes().to_vec(),
        })
    }

    async fn begin(mut self, body: &[u8]) -> LockAnswer {
        let asked: TkaInitBeginRequest = parse_request(body)?;
        let request = BeginLockRequest {
            member: self.member(asked.node_key),
            genesis: asked.genesis.0,
        };
        let answered = self.client.begin_lock(request).await;
        let begun = answered.map_err(refuse)?.into_inner();
        let sign_info = |node: NodeToSign| TkaSignInfo {
            node_id: node.node_id,
            node_public: NodePublic::try_from(&*node.node_key).unwrap_or_default(),
            rotation_pubkey: Base64Bytes(node.rotation_key),
        };
        write(&TkaInitBeginResponse {
            need_signatures: begun.nodes.into_iter().map(sign_info).collect(),
        })
    }

    async fn finish(mut self, body: &[u8]) -> LockAnswer {
        let asked: TkaInitFinishRequest = parse_request(body)?;
        let signatures = asked.signatures.into_iter();
        let request = FinishLockRequest {
            member: self.member(asked.node_key),
            signatures: signatures.map(|(id, bytes)| (id, bytes.0)).collect(),
            support_disablement: asked.support_disablement.0,
        };
        self.client.finish_lock(request).await.map_err(refuse)?;
        write(&EmptyAnswer {})
    }

    async fn bootstrap(mut self, body: &[u8]) -> LockAnswer {
        let asked: TkaBootstrapRequest = parse_request(body)?;
        let request = BootstrapLockRequest {
            member: self.member(asked.node_key),
        };
        let answered = self.client.bootstrap_lock(request).await;
        let answer = answered.map_err(refuse)?.into_inner();
        write(&TkaBootstrapResponse {
            genesis: Base64Bytes(answer.genesis),
            disablement_secret: Base64Bytes(answer.disablement_secret),
        })
    }

    async fn offer(mut self, body: &[u8]) -> LockAnswer {
        let asked: TkaSyncOfferRequest = parse_request(body)?;
        let request = OfferLockUpdatesRequest {
            member: self.member(asked.node_key),
            head: asked.head,
            ancestors: asked.ancestors,
        };
        let answered = self.client.offer_lock_updates(request).await;
        let answer = answered.map_err(refuse)?.into_inner();
        write(&TkaSyncOfferResponse {
            head: answer.head,
            ancestors: answer.ancestors,
            missing: answer.missing.into_iter().map(Base64Bytes).collect(),
        })
    }

    async fn send(mut self, body: &[u8]) -> LockAnswer {
        let asked: TkaSyncSendRequest = parse_request(body)?;
        let request = SendLockUpdatesRequest {
            member: self.member(asked.node_key),
            updates: asked.missing.into_iter().map(|bytes| bytes.0).collect(),
            interactive: asked.interactive,
        };
        let answered = self.client.send_lock_updates(request).await;
        let head = answered.map_err(refuse)?.into_inner().head;
        write(&TkaSyncSendResponse { head })
    }

    async fn disable(mut self, body: &[u8]) -> LockAnswer {
        let asked: TkaDisableRequest = parse_request(body)?;
        let request = DisableLockRequest {
            member: self.member(asked.node_key),
            disablement_secret: asked.disablement_secret.0,
        };
        self.client.disable_lock(request).await.map_err(refuse)?;
        write(&EmptyAnswer {})
    }

    async fn sign(mut self, body: &[u8]) -> LockAnswer {
        let asked: TkaSubmitSignatureRequest = parse_request(body)?;
        let request = SignNodeKeyRequest {
            member: self.member(asked.node_key),
            signature: asked.signature.0,
        };
        self.client.sign_node_key(request).await.map_err(refuse)?;
        write(&EmptyAnswer {})
    }

    async fn signatures(mut self, body: &[u8]) -> LockAnswer {
        let asked: TkaSignaturesUsingKeyRequest = parse_request(body)?;
        let request = ListSignaturesOfKeyRequest {
            member: self.member(asked.node_key),
            key_id: asked.key_id.0,
        };
        let answered = self.client.list_signatures_of_key(request).await;
        let signatures = answered.map_err(refuse)?.into_inner().signatures;
        write(&TkaSignaturesUsingKeyResponse {
            signatures: signatures.into_iter().map(Base64Bytes).collect(),
        })
    }
}

fn write(answer: &impl Serialize) -> LockAnswer {
    serde_json::value::to_raw_value(answer).map_err(|error| {
        tracing::error!(%error, "an answer can not be written");
        let text = "the server can not write its answer";
        RequestFailure::new(StatusCode::INTERNAL_SERVER_ERROR, text)
    })
}

/// A refusal is for the person who runs the command.
fn refuse(status: Status) -> RequestFailure {
    match status.code() {
        Code::FailedPrecondition => RequestFailure::new(StatusCode::CONFLICT, status.message()),
        _ => status.into(),
    }
}
