//! The RPCs: convert, call, convert back.

mod conditions;
mod connections;
mod credentials;
mod groups;
mod identity;
mod invitations;
mod login_attempts;
mod logins;
mod passkeys;
mod scim;
mod sessions;
mod tailnets;
mod users;
mod webhooks;

pub use connections::ConnectionRpcs;
pub use identity::IdentityRpcs;
pub use invitations::InvitationRpcs;
