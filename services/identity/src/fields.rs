//! What a message must have, checked where it enters.

use bowline_ids::TailnetId;
use bowline_service_kit::trace;
use prost_types::FieldMask;

use crate::error::IdentityError;

/// Returns the tailnet that a message names; the span of the call shows it from then on.
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

/// Returns the names of the fields that a request changes. A request without a mask changes nothing.
pub fn read_mask(mask: Option<FieldMask>) -> Vec<String> {
    mask.map_or_else(Vec::new, |mask| mask.paths)
}
