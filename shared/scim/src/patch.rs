//! PATCH (RFC 7644 section 3.5.2).
//!
//! A request is read into operations that each name one attribute: an operation without a path, whose value is an object, becomes
//! one for each member of the object. Of such a member, what is not known or only the server says is left out; a path that
//! names it is refused.

mod apply;

use serde_json::{Map, Value};

pub use apply::apply_operation;

use crate::{
    error::{ScimError, ScimErrorKind, shorten},
    filter::ScimFilter,
    path::{FieldPath, NamedField, parse_name},
    resource::{find_key, read_object, refuse_change, require_schema},
    schema::{ScimSchema, ScimType},
};

/// What a PATCH says that it is.
pub const PATCH_SCHEMA: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
/// The most operations of a request.
const MOST_OPERATIONS: usize = 1000;
/// The longest path, in bytes.
const LONGEST_PATH: usize = 8192;

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchVerb {
    /// Adds a value to a list, or sets another attribute.
    Add,
    /// Takes values away.
    Remove,
    /// Sets an attribute.
    Replace,
}

/// What an operation is done to.
#[derive(Clone, Debug, PartialEq)]
pub struct PatchTarget {
    /// The attribute, or the part.
    pub path: FieldPath,
    /// Which values of a list.
    pub filter: Option<ScimFilter>,
}

/// One operation, on one attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct PatchOperation {
    /// What it does.
    pub verb: PatchVerb,
    /// What it is done to.
    pub target: PatchTarget,
    /// The value; absent where nothing is to be set.
    pub value: Option<Value>,
}

/// Reads a request.
///
/// # Errors
///
/// When it is no PATCH, or a path names nothing.
pub fn read_patch(of: ScimType, body: &str) -> Result<Vec<PatchOperation>, ScimError> {
    let object = read_object(body)?;
    require_schema(&object, PATCH_SCHEMA)?;
    let listed = find_key(&object, "Operations").and_then(Value::as_array);
    let listed = listed.ok_or_else(|| ScimError::syntax("Operations is no list of operations"))?;
    let mut operations = Vec::new();
    for operation in listed {
        let Value::Object(operation) = operation else {
            return Err(ScimError::syntax("an operation is no object"));
        };
        read_operation(of, operation, &mut operations)?;
        if operations.len() > MOST_OPERATIONS {
            let detail = format!("the request has more than {MOST_OPERATIONS} operations");
            return Err(ScimError::new(ScimErrorKind::TooMany, detail));
        }
    }
    Ok(operations)
}

fn read_operation(
    of: ScimType,
    operation: &Map<String, Value>,
    operations: &mut Vec<PatchOperation>,
) -> Result<(), ScimError> {
    let word = find_key(operation, "op")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let verb = match word {
        _ if word.eq_ignore_ascii_case("add") => PatchVerb::Add,
        _ if word.eq_ignore_ascii_case("remove") => PatchVerb::Remove,
        _ if word.eq_ignore_ascii_case("replace") => PatchVerb::Replace,
        _ => {
            let word = shorten(word);
            return Err(ScimError::syntax(format!(
                "\"{word}\" is no operation: there are add, remove and replace"
            )));
        }
    };
    let value = find_key(operation, "value");
    let path = match find_key(operation, "path") {
        None | Some(Value::Null) => None,
        Some(Value::String(path)) if path.is_empty() => None,
        Some(Value::String(path)) => Some(path),
        Some(_) => return Err(ScimError::syntax("a path is no text")),
    };
    match (path, verb, value) {
        (None, PatchVerb::Remove, _) => Err(ScimError::new(
            ScimErrorKind::NoTarget,
            "an operation that removes has a path",
        )),
        (None, _, Some(Value::Object(members))) => {
            for (key, value) in members {
                add_member_operation(of, verb, key, value, operations)?;
            }
            Ok(())
        }
        (None, ..) => Err(ScimError::value(
            "an operation without a path has an object as value",
        )),
        (Some(path), ..) => add_path_operation(of, verb, path, value, operations),
    }
}

/// Adds what a member of a value without a path asks for.
fn add_member_operation(
    of: ScimType,
    verb: PatchVerb,
    key: &str,
    value: &Value,
    operations: &mut Vec<PatchOperation>,
) -> Result<(), ScimError> {
    match parse_target(of, key) {
        Ok(ParsedTarget::Extension(extension)) => {
            add_extension(of, verb, extension, Some(value), operations)
        }
        Ok(ParsedTarget::Field(target)) => {
            let is_settable =
                !target.path.leaf().is_read_only() && !target.path.attribute.is_read_only();
            if is_settable && target.path.attribute.name != "schemas" {
                operations.push(PatchOperation {
                    verb,
                    target,
                    value: Some(value.clone()),
                });
            }
            Ok(())
        }
        Err(_) => Ok(()),
    }
}

fn add_path_operation(
    of: ScimType,
    verb: PatchVerb,
    path: &str,
    value: Option<&Value>,
    operations: &mut Vec<PatchOperation>,
) -> Result<(), ScimError> {
    if verb != PatchVerb::Remove && value.is_none() {
        return Err(ScimError::value(format!(
            "the operation on {} has no value",
            shorten(path)
        )));
    }
    match parse_target(of, path)? {
        ParsedTarget::Extension(extension) => add_extension(of, verb, extension, value, operations),
        ParsedTarget::Field(target) => {
            let (attribute, leaf) = (target.path.attribute, target.path.leaf());
            // Who adds an extension's attributes may say so in the list of schemas, which follows from them.
            if attribute.name == "schemas" {
                return Ok(());
            }
            if attribute.is_read_only() || leaf.is_read_only() {
                return Err(refuse_change(&target.path.name()));
            }
            operations.push(PatchOperation {
                verb,
                target,
                value: value.cloned(),
            });
            Ok(())
        }
    }
}

/// Adds what is asked of a whole extension, for each of its attributes.
fn add_extension(
    of: ScimType,
    verb: PatchVerb,
    extension: &'static ScimSchema,
    value: Option<&Value>,
    operations: &mut Vec<PatchOperation>,
) -> Result<(), ScimError> {
    if verb == PatchVerb::Remove {
        for attribute in extension.attributes {
            let path = FieldPath {
                extension: Some(extension),
                attribute,
                part: None,
            };
            operations.push(PatchOperation {
                verb,
                target: PatchTarget { path, filter: None },
                value: None,
            });
        }
        return Ok(());
    }
    let Some(Value::Object(members)) = value else {
        return Err(ScimError::value(format!("{} is no object", extension.id)));
    };
    for (key, value) in members {
        let path = format!("{}:{key}", extension.id);
        add_member_operation(of, verb, &path, value, operations)?;
    }
    Ok(())
}

enum ParsedTarget {
    Extension(&'static ScimSchema),
    Field(PatchTarget),
}

/// Reads a path, such as `emails[type eq "work"].value`.
fn parse_target(of: ScimType, text: &str) -> Result<ParsedTarget, ScimError> {
    let wrong = |detail: String| ScimError::new(ScimErrorKind::InvalidPath, detail);
    if text.len() > LONGEST_PATH {
        return Err(wrong(format!("a path is longer than {LONGEST_PATH} bytes")));
    }
    let Some((name, rest)) = text.split_once('[') else {
        return Ok(match parse_name(of, text.trim())? {
            NamedField::Extension(extension) => ParsedTarget::Extension(extension),
            NamedField::Field(path) => ParsedTarget::Field(PatchTarget { path, filter: None }),
        });
    };
    let mut path = FieldPath::parse(of, name.trim())?;
    if !path.attribute.is_multi || path.part.is_some() {
        return Err(wrong(format!("{} is no list", shorten(name))));
    }
    let (filter, rest) = ScimFilter::parse_of_values(path.attribute, rest)?;
    path.part = match rest.trim_end() {
        "" => None,
        rest => {
            let part = rest
                .strip_prefix('.')
                .and_then(|part| path.attribute.find_part(part));
            let found = part.ok_or_else(|| {
                wrong(format!(
                    "values of {} have no part \"{}\"",
                    path.name(),
                    shorten(rest)
                ))
            })?;
            Some(found)
        }
    };
    Ok(ParsedTarget::Field(PatchTarget {
        path,
        filter: Some(filter),
    }))
}

#[cfg(test)]
mod tests;
