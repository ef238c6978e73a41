//! Values of claims, wherever the provider puts them. Pure.

use serde_json::{Map, Value};

/// The most values of one claim that are taken.
const MOST_VALUES: usize = 1000;

/// Returns the texts at a claim: `groups`, or below nested objects `resource_access.wireguard.roles`. A name that has dots
/// itself, such as `https://example.com/groups`, is tried whole first. A text is one value; of a list those members that are
/// texts, or objects with a `name`. `None` where the provider says nothing: there is no such claim, or it is neither text
/// nor list.
///
/// ```
/// # use serde_json::json;
/// let claims = json!({ "realm_access": { "roles": ["dev", "ops"] } });
/// let roles = bowline_oidc::find_claim(claims.as_object().unwrap(), "realm_access.roles");
/// assert_eq!(roles.unwrap(), ["dev", "ops"]);
/// ```
#[must_use]
pub fn find_claim(claims: &Map<String, Value>, path: &str) -> Option<Vec<String>> {
    match find_value(claims, path)? {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(members) => {
            let texts = members.iter().filter_map(|member| match member {
                Value::String(text) => Some(text.clone()),
                Value::Object(object) => object.get("name")?.as_str().map(str::to_owned),
                _ => None,
            });
            Some(texts.take(MOST_VALUES).collect())
        }
        _ => None,
    }
}

/// Says whether the provider keeps a claim elsewhere (OpenID Connect Core, 5.6.2), as some do with many groups: then it is not
/// known what the claim is. A claim that is neither given nor kept elsewhere has nothing in it.
#[must_use]
pub fn is_kept_elsewhere(claims: &Map<String, Value>, path: &str) -> bool {
    let names = claims.get("_claim_names").and_then(Value::as_object);
    let (first, _) = path.split_once('.').unwrap_or((path, ""));
    names.is_some_and(|names| names.contains_key(path) || names.contains_key(first))
}

fn find_value<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    find_value(claims.get(first)?.as_object()?, rest)
}

#[cfg(test)]
mod tests;
