//! What a message must hold, checked where it enters.

use bowline_ids::TailnetId;
use bowline_service_kit::trace;

use crate::error::RegistryError;

/// Returns the tailnet that a message names, which the span of the call then has.
///
/// # Errors
///
/// When it names none.
pub fn read_tailnet_id(number: u64) -> Result<TailnetId, RegistryError> {
    trace::note_tailnet(number);
    TailnetId::try_from(number)
        .map_err(|error| RegistryError::invalid("tailnet_id", error.to_string()))
}

/// Returns a field that a request must have.
///
/// # Errors
///
/// When it is missing.
pub fn require_field<T>(name: &'static str, field: Option<T>) -> Result<T, RegistryError> {
    field.ok_or_else(|| RegistryError::invalid(name, "is missing"))
}

/// Checks the name that a gateway gives itself.
///
/// # Errors
///
/// When it is empty or too long.
pub fn check_gateway(gateway: &str) -> Result<(), RegistryError> {
    if gateway.is_empty() || gateway.len() > 100 {
        return Err(RegistryError::invalid(
            "gateway",
            "is not named, or by more than 100 bytes",
        ));
    }
    Ok(())
}
