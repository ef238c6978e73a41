//! Each rule of the table in `src/lib.rs` is kept.

mod decisions;
mod features;
mod layers;
mod layout;
mod lengths;
mod type_names;
