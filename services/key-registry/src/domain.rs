//! What may be: rules without IO, clock or database.

pub mod address_pool;
pub mod admission;
pub mod approval;
pub mod attributes;
pub mod difference;
pub mod fleet;
pub mod hostname;
pub mod imported_node;
pub mod key;
pub mod key_policy;
pub mod lock;
pub mod node_limits;
pub mod pace;
pub mod pre_auth_key;
pub mod registrant_guess;
pub mod report_judgement;
pub mod retagging;
pub mod retired_key;
pub mod rotation;
pub mod rotation_interval;
pub mod routes;
pub mod self_report;
pub mod standing;
pub mod tags;

pub use bowline_proto::time::{from_timestamp, to_timestamp};

#[cfg(test)]
mod tests;
