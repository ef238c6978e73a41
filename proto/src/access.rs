//! Who may call which RPC, as declared in the `.proto` files.

/// A kind of caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallerKind {
    /// A person or a program that administers Bowline.
    Admin,
    /// The netmap-gateway service.
    Gateway,
    /// The key-registry service.
    KeyRegistry,
    /// The identity service.
    Identity,
    /// The policy-compiler service.
    PolicyCompiler,
    /// The relay service.
    Relay,
}

include!(concat!(env!("OUT_DIR"), "/access.rs"));

/// Returns each RPC's path, such as `/bowline.identity.v1.UserService/ListUsers`, with the callers it serves.
///
/// The build fails on an RPC without a declaration, so every RPC of every service is here.
#[must_use]
pub fn rules() -> &'static [(&'static str, &'static [CallerKind])] {
    RULES
}
