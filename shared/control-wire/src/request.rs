//! Reads what clients send.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A request body that can not be read.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Not JSON.
    #[error("the body is not JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// More values than any client sends: each costs many times its bytes.
    #[error("the body has more than {MOST_VALUES} values")]
    Values,
    /// A member has another type than its name promises.
    #[error("the member {path} is wrong: {source}")]
    Member {
        /// Where, with dots between names.
        path: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

/// The most values in a body.
const MOST_VALUES: usize = 65_536;

/// Member names as this crate's types spell them. Some clients use other upper and lower case.
const NAMES: &[&str] = &[
    "Version",
    "NodeKey",
    "OldNodeKey",
    "NLKey",
    "Auth",
    "AuthKey",
    "Expiry",
    "Followup",
    "Hostinfo",
    "Ephemeral",
    "Tailnet",
    "Compress",
    "KeepAlive",
    "DiscoKey",
    "Stream",
    "Endpoints",
    "EndpointTypes",
    "TKAHead",
    "ReadOnly",
    "OmitPeers",
    "DebugFlags",
    "IPNVersion",
    "OS",
    "OSVersion",
    "Distro",
    "DistroVersion",
    "DeviceModel",
    "App",
    "Hostname",
    "ShieldsUp",
    "AllowsUpdate",
    "StateEncrypted",
    "Machine",
    "RoutableIPs",
    "RequestTags",
    "Services",
    "Proto",
    "Port",
    "Description",
    "NetInfo",
    "sshHostKeys",
    "Location",
    "Userspace",
    "MappingVariesByDestIP",
    "WorkingIPv6",
    "OSHasIPv6",
    "WorkingUDP",
    "WorkingICMPv4",
    "HavePortMap",
    "PreferredDERP",
    "LinkType",
    "DERPLatency",
    "Country",
    "CountryCode",
    "City",
    "CityCode",
    "Latitude",
    "Longitude",
    "Priority",
    "NodeKeySignature",
    "GenesisAUM",
    "Signatures",
    "SupportDisablement",
    "Head",
    "Ancestors",
    "MissingAUMs",
    "Interactive",
    "DisablementSecret",
    "Signature",
    "KeyID",
    UPDATE,
];
/// The member whose own members are data: their names stand as they are, and `null` means that one is removed.
const UPDATE: &str = "Update";

/// Reads a request: member names of any case, `null` as absent (in a list too), unknown members ignored. What stands in a
/// member `Update` is left as it is.
///
/// Depth is bounded by the JSON reader (128), the number of values here, size by the caller.
///
/// # Errors
///
/// [`RequestError`], which names the member at fault.
pub fn parse_request<T: DeserializeOwned>(body: &[u8]) -> Result<T, RequestError> {
    // Each value but the first follows one of these bytes. Those inside strings are counted too: no client has so many.
    let separators = body.iter().filter(|byte| b",[{".contains(byte)).count();
    if separators > MOST_VALUES {
        return Err(RequestError::Values);
    }
    let value: Value = serde_json::from_slice(body).map_err(RequestError::Json)?;
    serde_path_to_error::deserialize(with_known_names(value)).map_err(|error| {
        RequestError::Member {
            path: error.path().to_string(),
            source: error.into_inner(),
        }
    })
}

fn with_known_names(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(members_with_known_names(members)),
        Value::Array(elements) => {
            let present = elements.into_iter().filter(|element| !element.is_null());
            Value::Array(present.map(with_known_names).collect())
        }
        other => other,
    }
}

fn members_with_known_names(members: Map<String, Value>) -> Map<String, Value> {
    members
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| {
            let known = NAMES.iter().find(|known| known.eq_ignore_ascii_case(&name));
            let name = known.map_or(name, |known| (*known).to_owned());
            let value = match &*name {
                UPDATE => value,
                _ => with_known_names(value),
            };
            (name, value)
        })
        .collect()
}

#[cfg(test)]
mod tests;
