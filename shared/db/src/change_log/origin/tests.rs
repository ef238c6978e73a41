use bowline_proto::{
    identity::v1::{IdentityChange, identity_change},
    key_registry::v1::{RegistryChange, registry_change},
    policy::v1::{PolicyChange, PolicyVersion},
};

use super::*;

const SPAN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Returns an entry as it is read after the span of its commit was added.
fn traced<M: prost::Message + Default>(entry: &M) -> M {
    let mut bytes = entry.encode_to_vec();
    add_trace(&mut bytes, TraceParent::parse(SPAN).unwrap());
    M::decode(&*bytes).unwrap()
}

#[test]
fn entries_of_every_log_say_which_span_committed_them() {
    let identity = IdentityChange::from(identity_change::Change::UserDeleted(7));
    let registry = RegistryChange::from(registry_change::Change::NodeDeleted(7));
    let policy = PolicyChange {
        version: Some(PolicyVersion::default()),
        traceparent: None,
    };
    let read = (traced(&identity), traced(&registry), traced(&policy));
    assert_eq!(read.0.change, identity.change);
    assert_eq!(read.1.change, registry.change);
    assert_eq!(read.2.version, policy.version);
    for trace in [read.0.traceparent, read.1.traceparent, read.2.traceparent] {
        assert_eq!(trace.as_deref(), Some(SPAN));
    }
}
