//! SCIM 2.0 messages (RFC 7643, RFC 7644), as pure functions over JSON.
//!
//! ```text
//! schema      which attributes users and groups have, and what their values are
//! discovery   what a client is told of them: service provider configuration, resource types, schemas
//! resource    a client's JSON in the one form that is kept
//! filter      `emails[type eq "work"] and userName sw "a"`: read once, judged against many resources
//! patch       operations of a PATCH, and a resource after them
//! member      what an operation does to the members of a group, without the group's other members
//! projection  `attributes` and `excludedAttributes`
//! sort        the order of `sortBy`
//! bulk        many requests in one, with references between them
//! ```
//!
//! Whoever keeps resources decides what they mean. Nothing here does IO, and every text has a bound: filters are at most
//! [`filter::LONGEST_FILTER`] bytes and [`filter::DEEPEST`] deep, a resource is at most [`resource::LARGEST`] bytes.
//!
//! Clients send more than the standard says. `active` comes as the text "False", operations as "Replace", and one object where a
//! list is expected. That is read as it is meant.

pub mod bulk;
pub mod discovery;
mod error;
pub mod filter;
pub mod member;
pub mod patch;
pub mod path;
pub mod projection;
pub mod resource;
pub mod schema;
pub mod sort;

pub use error::{ScimError, ScimErrorKind};
pub use filter::ScimFilter;
pub use projection::Projection;
pub use schema::ScimType;
