//! Identifiers of tailnets, users, nodes and logins, and the revision of a change log.
//!
//! | type | who sees it | never |
//! |---|---|---|
//! | [`TailnetId`], [`UserId`], [`NodeId`] | services, and (user, node) clients as JSON numbers below 2^53 | reused |
//! | [`StableNodeId`] | clients, logs, people: `n<number>CNTRL` | reused |
//! | [`StableTailnetId`] | clients: `T<number>CNTRL` | reused |
//! | [`LoginId`] | the browser, inside an auth URL; 128 bits of randomness | guessed |
//! | [`NodeOwner`] | services only: who answers for a node | shown |
//! | [`is_custom_attribute`] | administrators, policies, nodes that set attributes of themselves | in another namespace |
//! | [`Revision`] | services only: one per-tailnet counter for each owner of hard state | going back |

mod attribute;
mod login;
mod number;
mod owner;
mod revision;

pub use attribute::{CUSTOM_ATTRIBUTE, is_custom_attribute};
pub use login::{InvalidLoginId, LoginId};
pub use number::{InvalidId, NodeId, StableNodeId, StableTailnetId, TailnetId, UserId};
pub use owner::NodeOwner;
pub use revision::Revision;
