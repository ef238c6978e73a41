//! What machines ask for, and what they are refused.

use bowline_proto::key_registry::v1::{RefusalReason, RegisterRequest, register_response::Outcome};

/// Returns a request whose machine key is `machine` repeated and whose node key is `node` repeated.
pub(crate) fn request(machine: u8, node: u8) -> RegisterRequest {
    RegisterRequest {
        machine_key: vec![machine; 32],
        node_key: vec![node; 32],
        hostname: "laptop".to_owned(),
        ..RegisterRequest::default()
    }
}

/// The same with a pre-auth key.
pub(crate) fn with_key(machine: u8, node: u8, key: &str) -> RegisterRequest {
    RegisterRequest {
        pre_auth_key: key.to_owned(),
        ..request(machine, node)
    }
}

/// Returns why a registration was refused.
pub(crate) fn refusal(outcome: Outcome) -> RefusalReason {
    match outcome {
        Outcome::Refused(refused) => refused.reason(),
        other => panic!("{other:?}"),
    }
}
