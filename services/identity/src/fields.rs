//! What a message must hold, checked where it enters.

use bowline_ids::TailnetId;
use bowline_service_kit::trace;

use crate::error::IdentityError;

/// Returns the tailnet that a message names, which the span of the call then has.
///
/// # Errors
///
/// When it names none.
pub fn read_tailnet_id(number: u64) -> Result<TailnetId, IdentityError> {
    trace::note_tailnet(number);
    TailnetId::try_from(number)
        .map_err(|error| IdentityError::invalid("tailnet_id", error.to_string()))
}

/// Returns a field that a request must have.
///
/// # Errors
///
/// When it is missing.
pub fn require_field<T>(name: &'static str, field: Option<T>) -> Result<T, IdentityError> {
    field.ok_or_else(|| IdentityError::invalid(name, "is missing"))
}
