//! The RPCs: convert, call, convert back.

mod audit;
mod follow;
mod logins;
mod tailnets;
mod users;

use bowline_ids::TailnetId;

use crate::error::IdentityError;

/// Reads a tailnet's number.
fn read_tailnet_id(number: u64) -> Result<TailnetId, IdentityError> {
    TailnetId::try_from(number)
        .map_err(|error| IdentityError::invalid("tailnet_id", error.to_string()))
}
