//! Many requests in one (RFC 7644 section 3.7). A request may name what an earlier or later one makes by its `bulkId`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::{
    error::{ScimError, ScimErrorKind, shorten},
    resource::{find_key, read_object, require_schema},
    schema::ScimType,
};

/// What a bulk request says that it is.
pub const BULK_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
/// What its answer says that it is.
pub const BULK_ANSWER_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";
/// The most operations of a request.
pub const MOST_BULK_OPERATIONS: usize = 100;
/// What stands before the name of a resource that the same request makes.
const REFERENCE: &str = "bulkId:";

/// What is asked of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkMethod {
    /// To make it.
    Post,
    /// To replace it.
    Put,
    /// To change it.
    Patch,
    /// To delete it.
    Delete,
}

impl BulkMethod {
    /// Returns the HTTP method.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// One request of many.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkOperation {
    /// What is asked.
    pub method: BulkMethod,
    /// What the client calls the resource that it makes; empty when it does not say.
    pub bulk_id: String,
    /// The version that the resource has to have; empty: any.
    pub version: String,
    /// The type of the resource.
    pub of: ScimType,
    /// The resource; empty for one that is made.
    pub id: String,
    /// The body.
    pub data: Value,
}

/// Many requests.
#[derive(Clone, Debug, PartialEq)]
pub struct BulkRequest {
    /// After how many errors the rest is left; `None`: never.
    pub fail_on_errors: Option<u64>,
    /// The requests.
    pub operations: Vec<BulkOperation>,
}

impl BulkRequest {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// When it is none, or has more than 100 operations.
    pub fn parse(body: &str) -> Result<Self, ScimError> {
        let object = read_object(body)?;
        require_schema(&object, BULK_SCHEMA)?;
        let listed = find_key(&object, "Operations").and_then(Value::as_array);
        let listed =
            listed.ok_or_else(|| ScimError::syntax("Operations is no list of operations"))?;
        if listed.len() > MOST_BULK_OPERATIONS {
            let detail = format!("the request has more than {MOST_BULK_OPERATIONS} operations");
            return Err(ScimError::new(ScimErrorKind::TooMany, detail));
        }
        let read = |operation: &Value| match operation {
            Value::Object(operation) => read_operation(operation),
            _ => Err(ScimError::syntax("an operation is no object")),
        };
        let operations: Vec<_> = listed.iter().map(read).collect::<Result<_, _>>()?;
        let mut names = BTreeSet::new();
        let mut named = operations
            .iter()
            .map(|one| &one.bulk_id)
            .filter(|name| !name.is_empty());
        if let Some(twice) = named.find(|name| !names.insert(*name)) {
            let twice = shorten(twice);
            return Err(ScimError::value(format!(
                "two operations have the bulkId \"{twice}\""
            )));
        }
        Ok(Self {
            fail_on_errors: find_key(&object, "failOnErrors").and_then(Value::as_u64),
            operations,
        })
    }
}

fn read_operation(operation: &Map<String, Value>) -> Result<BulkOperation, ScimError> {
    let text = |name: &str| {
        find_key(operation, name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let word = text("method");
    let methods = [
        BulkMethod::Post,
        BulkMethod::Put,
        BulkMethod::Patch,
        BulkMethod::Delete,
    ];
    let method = methods
        .into_iter()
        .find(|method| word.eq_ignore_ascii_case(method.as_str()));
    let method = method.ok_or_else(|| {
        ScimError::syntax(format!(
            "\"{}\" is no method of a bulk operation",
            shorten(word)
        ))
    })?;
    let path = text("path");
    let (of, id) = ScimType::ALL
        .into_iter()
        .find_map(|of| {
            let rest = path.strip_prefix(of.endpoint())?;
            match rest.strip_prefix('/') {
                Some(id) if !id.is_empty() && !id.contains('/') => Some((of, id)),
                Some(_) => None,
                None => rest.is_empty().then_some((of, "")),
            }
        })
        .filter(|(_, id)| id.is_empty() == (method == BulkMethod::Post))
        .ok_or_else(|| {
            let path = shorten(path);
            ScimError::new(
                ScimErrorKind::InvalidPath,
                format!(
                    "\"{path}\" is no path for {}, such as /Users",
                    method.as_str()
                ),
            )
        })?;
    let data = find_key(operation, "data").cloned().unwrap_or(Value::Null);
    if method != BulkMethod::Delete && !data.is_object() {
        return Err(ScimError::syntax("the data of an operation is no object"));
    }
    Ok(BulkOperation {
        method,
        bulk_id: text("bulkId").to_owned(),
        version: text("version").to_owned(),
        of,
        id: id.to_owned(),
        data,
    })
}

impl BulkOperation {
    /// Returns the resources of the same request that it names.
    #[must_use]
    pub fn references(&self) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        found.extend(self.id.strip_prefix(REFERENCE));
        find_references(&self.data, &mut found);
        found
    }

    /// Returns it with the identifiers of resources that were made in place of their names.
    #[must_use]
    pub fn with_references(mut self, made: &BTreeMap<String, String>) -> Self {
        let named = self
            .id
            .strip_prefix(REFERENCE)
            .and_then(|name| made.get(name));
        if let Some(id) = named {
            self.id.clone_from(id);
        }
        set_references(&mut self.data, made);
        self
    }
}

fn find_references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::String(text) => found.extend(text.strip_prefix(REFERENCE)),
        Value::Array(values) => values
            .iter()
            .for_each(|value| find_references(value, found)),
        Value::Object(members) => members
            .values()
            .for_each(|value| find_references(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn set_references(value: &mut Value, made: &BTreeMap<String, String>) {
    match value {
        Value::String(text) => {
            let id = text.strip_prefix(REFERENCE).and_then(|name| made.get(name));
            if let Some(id) = id.cloned() {
                *text = id;
            }
        }
        Value::Array(values) => values
            .iter_mut()
            .for_each(|value| set_references(value, made)),
        Value::Object(members) => {
            members
                .values_mut()
                .for_each(|value| set_references(value, made));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests;
