//! The RPCs: convert, call, convert back.

mod follow;
mod keys;
mod nodes;
mod registration;
