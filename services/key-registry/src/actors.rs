//! How the audit trail names those who act on their own: the registry, machines, and pre-auth keys.

use bowline_keys::MachinePublic;

/// The registry itself, for what time brings and what follows from other changes.
pub const REGISTRY_ACTOR: &str = "service:key-registry";

/// Returns how a machine is named.
pub fn machine_actor(machine_key: &[u8]) -> String {
    // A key of another length stands as the key of zeros: the trail is written in any case.
    let key = MachinePublic::try_from(machine_key).unwrap_or_default();
    format!("machine:{key}")
}

/// Returns how a pre-auth key is named. The nodes that a key registered are found by it.
pub fn pre_auth_key_actor(id: &str) -> String {
    format!("pre-auth-key:{id}")
}
