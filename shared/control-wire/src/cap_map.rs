//! Capabilities by name.

use std::collections::BTreeMap;

use serde::{Serialize as _, Serializer};
use serde_json::value::RawValue;

/// Capabilities by name, each with its values as the policy has them; `None` where the policy has `null`.
///
/// `None` is written as `[]`: no list is ever written as `null` (protocol section 7.1).
pub type CapMap = BTreeMap<String, Option<Vec<Box<RawValue>>>>;

/// Writes capabilities without a `null`.
pub(crate) fn write_cap_map<S: Serializer>(map: &CapMap, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(
        map.iter()
            .map(|(name, values)| (name, values.as_deref().unwrap_or_default())),
    )
}

/// Writes capabilities that may be absent without a `null` inside.
pub(crate) fn write_optional_cap_map<S: Serializer>(
    map: &Option<CapMap>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match map {
        Some(map) => write_cap_map(map, serializer),
        None => None::<()>.serialize(serializer),
    }
}

#[cfg(test)]
mod tests;
