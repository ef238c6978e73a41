//! The RPCs: convert, call, convert back.

mod compiled;
mod policies;

pub(crate) use policies::convert_problems;

use bowline_ids::TailnetId;
use bowline_service_kit::trace;

use crate::error::CompilerError;

/// Reads a tailnet's number, which the span of the call then has.
pub(crate) fn read_tailnet_id(number: u64) -> Result<TailnetId, CompilerError> {
    trace::note_tailnet(number);
    TailnetId::try_from(number).map_err(|error| CompilerError::Invalid {
        field: "tailnet_id",
        problem: error.to_string(),
    })
}
