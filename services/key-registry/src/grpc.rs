//! The RPCs: convert, call, convert back.

mod audit;
mod follow;
mod keys;
mod nodes;
mod registration;
