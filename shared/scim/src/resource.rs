//! A client's JSON in the one form that is kept: names in the schema's spelling, values of the schema's kinds, and nothing that the
//! server says itself.

use serde_json::{Map, Value};

use crate::{
    error::{ScimError, ScimErrorKind, shorten},
    filter::read_boolean,
    path::{NamedField, parse_name},
    schema::{ScimAttribute, ScimSchema, ScimType, ValueKind, find_attribute},
};

/// The largest resource without its members, in bytes of JSON.
pub const LARGEST: usize = 64 << 10;
/// The longest text of one value, in bytes.
const LONGEST_TEXT: usize = 16 << 10;
/// The most values of a list other than members.
const MOST_VALUES: usize = 100;

/// Reads a text as a JSON object.
///
/// # Errors
///
/// When it is none. Objects are read to a depth of 128.
pub fn read_object(body: &str) -> Result<Map<String, Value>, ScimError> {
    match serde_json::from_str(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(ScimError::syntax("the body is no JSON object")),
        Err(error) => Err(ScimError::syntax(format!("the body is no JSON: {error}"))),
    }
}

/// Returns the member of an object that has this name, in whatever case it is written.
#[must_use]
pub fn find_key<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let exact = object.get(name);
    exact.or_else(|| {
        let mut all = object.iter();
        all.find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    })
}

/// Refuses a message that does not say that it is one of this schema.
///
/// # Errors
///
/// When its `schemas` do not name it.
pub fn require_schema(object: &Map<String, Value>, urn: &str) -> Result<(), ScimError> {
    let schemas = find_key(object, "schemas").and_then(Value::as_array);
    let is_named = schemas.is_some_and(|schemas| {
        let mut names = schemas.iter().filter_map(Value::as_str);
        names.any(|name| name.eq_ignore_ascii_case(urn))
    });
    match is_named {
        true => Ok(()),
        false => Err(ScimError::syntax(format!("schemas does not name {urn}"))),
    }
}

/// Reads a resource that a client wants, for POST and PUT. What the server says itself, and what is not known, is left out.
///
/// # Errors
///
/// When it is no resource of the type, or an attribute can not have the value.
pub fn read_resource(
    of: ScimType,
    object: &Map<String, Value>,
) -> Result<Map<String, Value>, ScimError> {
    require_schema(object, of.schema().id)?;
    let mut read = Map::new();
    for (key, value) in object {
        match parse_name(of, key) {
            Ok(NamedField::Extension(extension)) => {
                if let Some(value) = read_extension(extension, value)? {
                    read.insert(extension.id.to_owned(), value);
                }
            }
            Ok(NamedField::Field(path)) if path.part.is_none() && path.extension.is_none() => {
                let attribute = path.attribute;
                if attribute.is_read_only() || attribute.name == "schemas" {
                    continue;
                }
                // `member` reads who is named.
                let value = match attribute.name {
                    "members" => Some(value.clone()),
                    _ => read_value(attribute, value)?,
                };
                if let Some(value) = value {
                    read.insert(attribute.name.to_owned(), value);
                }
            }
            _ => {}
        }
    }
    check_resource(of, &read)?;
    Ok(read)
}

/// Checks a resource as it would be kept.
///
/// # Errors
///
/// When it lacks what it must have, or is too large. Members do not count.
pub fn check_resource(of: ScimType, resource: &Map<String, Value>) -> Result<(), ScimError> {
    for attribute in of.schema().attributes.iter().filter(|one| one.is_required) {
        let text = resource.get(attribute.name).and_then(Value::as_str);
        if text.is_none_or(|text| text.trim().is_empty()) {
            return Err(ScimError::value(format!("{} is missing", attribute.name)));
        }
    }
    check_size(resource)
}

/// Checks how large a resource is, members left out.
pub(crate) fn check_size(resource: &Map<String, Value>) -> Result<(), ScimError> {
    let own = resource.iter().filter(|(name, _)| *name != "members");
    let size: usize = own
        .map(|(name, value)| name.len() + value.to_string().len())
        .sum();
    match size <= LARGEST {
        true => Ok(()),
        false => Err(ScimError::value(format!(
            "the resource is larger than {LARGEST} bytes"
        ))),
    }
}

fn read_extension(
    extension: &'static ScimSchema,
    value: &Value,
) -> Result<Option<Value>, ScimError> {
    let Some(object) = value.as_object() else {
        return match value.is_null() {
            true => Ok(None),
            false => Err(ScimError::value(format!("{} is no object", extension.id))),
        };
    };
    read_parts(extension.attributes, object)
}

/// Reads the members of an object by their attributes.
fn read_parts(
    attributes: &'static [ScimAttribute],
    object: &Map<String, Value>,
) -> Result<Option<Value>, ScimError> {
    let mut read = Map::new();
    for (key, value) in object {
        let Some(attribute) = find_attribute(attributes, key) else {
            continue;
        };
        if attribute.is_read_only() {
            continue;
        }
        if let Some(value) = read_value(attribute, value)? {
            read.insert(attribute.name.to_owned(), value);
        }
    }
    Ok((!read.is_empty()).then_some(Value::Object(read)))
}

/// Reads the value of an attribute; `None` for one that says that there is none.
pub(crate) fn read_value(
    attribute: &'static ScimAttribute,
    value: &Value,
) -> Result<Option<Value>, ScimError> {
    if !attribute.is_multi {
        return read_single(attribute, value);
    }
    let values = match value {
        Value::Array(values) => values.as_slice(),
        single => std::slice::from_ref(single),
    };
    if values.len() > MOST_VALUES {
        let name = attribute.name;
        return Err(ScimError::value(format!(
            "{name} has more than {MOST_VALUES} values"
        )));
    }
    let mut read = Vec::new();
    for value in values {
        read.extend(read_single(attribute, value)?);
    }
    keep_one_primary(&mut read);
    Ok((!read.is_empty()).then_some(Value::Array(read)))
}

/// Reads one value.
fn read_single(
    attribute: &'static ScimAttribute,
    value: &Value,
) -> Result<Option<Value>, ScimError> {
    let wrong = |what: &str| {
        let shown = shorten(&value.to_string());
        Err(ScimError::value(format!(
            "{} is {what}, not {shown}",
            attribute.name
        )))
    };
    if value.as_str().is_some_and(|text| text.len() > LONGEST_TEXT) {
        return wrong("at most 16 KiB long");
    }
    match (attribute.kind, value) {
        (_, Value::Null) => Ok(None),
        (ValueKind::Boolean, Value::Bool(_)) => Ok(Some(value.clone())),
        (ValueKind::Boolean, Value::String(text)) => match read_boolean(text) {
            Some(read) => Ok(Some(Value::Bool(read))),
            None => wrong("true or false"),
        },
        (ValueKind::Boolean, _) => wrong("true or false"),
        (ValueKind::DateTime, Value::String(text)) => {
            match chrono::DateTime::parse_from_rfc3339(text) {
                Ok(_) => Ok(Some(value.clone())),
                Err(_) => wrong("a time, such as 2026-11-27T08:00:00Z"),
            }
        }
        (ValueKind::DateTime, _) => wrong("a time, such as 2026-11-27T08:00:00Z"),
        (ValueKind::Text | ValueKind::Reference(_), Value::String(_)) => Ok(Some(value.clone())),
        (ValueKind::Text | ValueKind::Reference(_), Value::Number(number)) => {
            Ok(Some(Value::String(number.to_string())))
        }
        (ValueKind::Text | ValueKind::Reference(_), _) => wrong("a text"),
        (ValueKind::Complex(parts), Value::Object(object)) => read_parts(parts, object),
        // Clients send a manager as the identifier alone.
        (ValueKind::Complex(parts), Value::String(text)) => match find_attribute(parts, "value") {
            Some(part) if !text.is_empty() => {
                let object = [(part.name.to_owned(), value.clone())];
                Ok(Some(Value::Object(object.into_iter().collect())))
            }
            Some(_) => Ok(None),
            None => wrong("an object"),
        },
        (ValueKind::Complex(_), _) => wrong("an object"),
    }
}

/// Lets the last of the values that say so be the primary one.
fn keep_one_primary(values: &mut [Value]) {
    let last = values.iter().rposition(is_primary);
    for (index, value) in values.iter_mut().enumerate() {
        if Some(index) != last && is_primary(value) {
            value["primary"] = Value::Bool(false);
        }
    }
}

/// Says whether a value is the primary one of its list.
pub(crate) fn is_primary(value: &Value) -> bool {
    value.get("primary") == Some(&Value::Bool(true))
}

/// Returns the error of what only the server says.
pub(crate) fn refuse_change(name: &str) -> ScimError {
    let detail = format!("{name} can not be changed: the server says what it is");
    ScimError::new(ScimErrorKind::Mutability, detail)
}

#[cfg(test)]
mod tests;
