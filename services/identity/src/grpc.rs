//! The RPCs: convert, call, convert back.

mod audit;
mod follow;
mod logins;
mod tailnets;
mod users;

use bowline_ids::TailnetId;
use bowline_service_kit::trace;

use crate::error::IdentityError;

/// Reads a tailnet's number, which the span of the call then has.
fn read_tailnet_id(number: u64) -> Result<TailnetId, IdentityError> {
    trace::note_tailnet(number);
    TailnetId::try_from(number)
        .map_err(|error| IdentityError::invalid("tailnet_id", error.to_string()))
}
