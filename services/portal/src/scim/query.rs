//! What a search asks for, in an address or in a body.

use std::collections::BTreeMap;

use bowline_proto::identity::v1::{ListScimResourcesRequest, ScimProjection};
use bowline_scim::{
    ScimError,
    resource::{find_key, read_object, require_schema},
};
use serde_json::Value;

/// What the body of a search says that it is.
const SEARCH_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

/// What stands behind the question mark of an address.
#[derive(Debug, Default)]
pub(super) struct ScimQuery(BTreeMap<String, String>);

impl ScimQuery {
    /// Reads it; of what is there twice, the last counts.
    pub(super) fn parse(query: Option<&str>) -> Self {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    fn text(&self, name: &str) -> String {
        self.0.get(name).cloned().unwrap_or_default()
    }

    fn number(&self, name: &str) -> Result<Option<i64>, ScimError> {
        let read = |text: &String| text.trim().parse().map_err(|_| no_number(name));
        self.0.get(name).map(read).transpose()
    }

    /// Returns which attributes the answer has.
    pub(super) fn projection(&self) -> ScimProjection {
        ScimProjection {
            attributes: self.text("attributes"),
            excluded_attributes: self.text("excludedAttributes"),
        }
    }

    /// Returns the search.
    pub(super) fn search(&self) -> Result<ListScimResourcesRequest, ScimError> {
        Ok(ListScimResourcesRequest {
            filter: self.text("filter"),
            sort_by: self.text("sortBy"),
            is_descending: is_descending(&self.text("sortOrder"))?,
            start_index: self.number("startIndex")?.unwrap_or(1),
            count: self.number("count")?,
            projection: Some(self.projection()),
            ..ListScimResourcesRequest::default()
        })
    }
}

fn no_number(name: &str) -> ScimError {
    ScimError::value(format!("{name} is no whole number"))
}

fn is_descending(order: &str) -> Result<bool, ScimError> {
    match order {
        _ if order.is_empty() || order.eq_ignore_ascii_case("ascending") => Ok(false),
        _ if order.eq_ignore_ascii_case("descending") => Ok(true),
        _ => Err(ScimError::value("sortOrder is ascending or descending")),
    }
}

/// Reads a search from a body.
pub(super) fn read_search(body: &str) -> Result<ListScimResourcesRequest, ScimError> {
    let object = read_object(body)?;
    require_schema(&object, SEARCH_SCHEMA)?;
    let text = |name: &str| match find_key(&object, name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(ScimError::syntax(format!("{name} is no text"))),
    };
    let number = |name: &str| match find_key(&object, name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or_else(|| no_number(name)),
    };
    let names = |name: &str| match find_key(&object, name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::Array(names)) => {
            let names: Option<Vec<_>> = names.iter().map(Value::as_str).collect();
            let names =
                names.ok_or_else(|| ScimError::syntax(format!("{name} is no list of names")))?;
            Ok(names.join(","))
        }
        Some(_) => Err(ScimError::syntax(format!("{name} is no list of names"))),
    };
    Ok(ListScimResourcesRequest {
        filter: text("filter")?,
        sort_by: text("sortBy")?,
        is_descending: is_descending(&text("sortOrder")?)?,
        start_index: number("startIndex")?.unwrap_or(1),
        count: number("count")?,
        projection: Some(ScimProjection {
            attributes: names("attributes")?,
            excluded_attributes: names("excludedAttributes")?,
        }),
        ..ListScimResourcesRequest::default()
    })
}

#[cfg(test)]
mod tests;
