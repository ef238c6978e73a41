//! What a message must hold, checked where it enters.

use bowline_ids::TailnetId;
use bowline_proto::key_registry::v1::{
    AttributeToSet, NodeAttributesUpdate, attribute_to_set, set_node_expiry_request::Expiry,
};
use bowline_service_kit::trace;
use chrono::TimeDelta;

use crate::{
    domain::{
        attributes::{AttributeChanges, AttributeEnd, MOST_ATTRIBUTES, WantedAttribute},
        from_timestamp,
        key::{LONGEST_LIFE, WantedExpiry},
    },
    error::RegistryError,
};

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

/// Reads when a key is to end.
///
/// # Errors
///
/// When that is missing or no time.
pub fn read_expiry(asked: Option<Expiry>) -> Result<WantedExpiry, RegistryError> {
    let is_no = |field| move || RegistryError::invalid(field, "is none that there is");
    match require_field("expiry", asked)? {
        Expiry::Never(true) => Ok(WantedExpiry::Never),
        Expiry::Never(false) => Err(RegistryError::invalid("never", "is true or not given")),
        Expiry::At(time) => from_timestamp(time)
            .map(WantedExpiry::At)
            .ok_or_else(is_no("at")),
        Expiry::After(life) => read_duration(life)
            .map(WantedExpiry::After)
            .ok_or_else(is_no("after")),
        Expiry::Every(interval) => read_duration(interval)
            .map(WantedExpiry::Every)
            .ok_or_else(is_no("every")),
        Expiry::ByPolicy(true) => Ok(WantedExpiry::ByPolicy),
        Expiry::ByPolicy(false) => Err(RegistryError::invalid("by_policy", "is true or not given")),
    }
}

/// Reads how long a new key lives.
///
/// # Errors
///
/// When it is no time, or too long.
pub fn read_life(life: prost_types::Duration) -> Result<TimeDelta, RegistryError> {
    read_duration(life)
        .filter(|life| (TimeDelta::seconds(1)..=LONGEST_LIFE).contains(life))
        .ok_or_else(|| RegistryError::invalid("expires_after", "is from a second to 100 years"))
}

fn read_duration(duration: prost_types::Duration) -> Option<TimeDelta> {
    let nanos = u32::try_from(duration.nanos).ok()?;
    TimeDelta::new(duration.seconds, nanos)
}

/// Reads what is to be changed of a node's attributes.
///
/// # Errors
///
/// When something in it is no attribute, or named twice.
pub fn read_attribute_changes(
    update: NodeAttributesUpdate,
) -> Result<AttributeChanges, RegistryError> {
    if update.set.len() > MOST_ATTRIBUTES {
        let problem = format!("more than {MOST_ATTRIBUTES} attributes are set");
        return Err(RegistryError::invalid("set", problem));
    }
    let set = update.set.into_iter().map(read_attribute);
    AttributeChanges::new(set.collect::<Result<_, _>>()?, update.remove)
}

fn read_attribute(asked: AttributeToSet) -> Result<WantedAttribute, RegistryError> {
    use attribute_to_set::Expiry;
    let is_no = |field| move || RegistryError::invalid(field, "is none that there is");
    let end = match asked.expiry {
        None => AttributeEnd::Never,
        Some(Expiry::ExpiresAt(time)) => from_timestamp(time)
            .map(AttributeEnd::At)
            .ok_or_else(is_no("expires_at"))?,
        Some(Expiry::ExpiresAfter(life)) => read_duration(life)
            .map(AttributeEnd::After)
            .ok_or_else(is_no("expires_after"))?,
    };
    WantedAttribute::new(asked.name, asked.value, end, asked.comment)
}
