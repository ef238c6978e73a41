//! Each rule of the table in `src/lib.rs` is kept.

mod decisions;
mod layers;
mod lengths;
mod type_names;
