//! How the audit trail names those who act on their own: the registry, and machines.

use bowline_keys::MachinePublic;

/// The registry itself, for what time brings and what follows from other changes.
pub const REGISTRY_ACTOR: &str = "service:key-registry";

/// Returns how a machine is named.
pub fn machine_actor(machine_key: &[u8]) -> String {
    // A key of another length stands as the key of zeros: the trail is written in any case.
    let key = MachinePublic::try_from(machine_key).unwrap_or_default();
    format!("machine:{key}")
}
