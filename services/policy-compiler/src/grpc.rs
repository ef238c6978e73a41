//! The RPCs: convert, call, convert back.

mod audit;
mod compiled;
mod policies;

use bowline_ids::TailnetId;

use crate::error::CompilerError;

/// Reads a tailnet's number.
fn tailnet_id(number: u64) -> Result<TailnetId, CompilerError> {
    TailnetId::try_from(number).map_err(|error| CompilerError::Invalid {
        field: "tailnet_id",
        problem: error.to_string(),
    })
}
