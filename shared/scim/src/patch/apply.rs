//! What an operation makes of a resource.

use serde_json::{Map, Value};

use super::{PatchOperation, PatchVerb};
use crate::{
    error::{ScimError, ScimErrorKind},
    filter::ScimFilter,
    resource::{check_size, is_primary, read_value},
    schema::ScimAttribute,
};

/// Changes a resource as an operation asks.
///
/// # Errors
///
/// When a value can not be as is asked; the resource may have changed then.
pub fn apply_operation(
    resource: &mut Map<String, Value>,
    operation: &PatchOperation,
) -> Result<(), ScimError> {
    let path = operation.target.path;
    let is_whole = path.part.is_none() && operation.target.filter.is_none();
    if operation.verb == PatchVerb::Remove && path.attribute.is_required && is_whole {
        let detail = format!("{} can not be removed: it is required", path.attribute.name);
        return Err(ScimError::new(ScimErrorKind::Mutability, detail));
    }
    match path.extension {
        None => change_home(resource, operation)?,
        Some(extension) => {
            let home = resource.entry(extension.id).or_insert_with(empty_object);
            if let Some(home) = home.as_object_mut() {
                change_home(home, operation)?;
            }
            leave_out_empty(resource, extension.id);
        }
    }
    // After each operation: a few of them can make much of a small request.
    check_size(resource)
}

fn empty_object() -> Value {
    Value::Object(Map::new())
}

fn leave_out_empty(home: &mut Map<String, Value>, name: &str) {
    let is_empty = match home.get(name) {
        Some(Value::Object(object)) => object.is_empty(),
        Some(Value::Array(values)) => values.is_empty(),
        _ => false,
    };
    if is_empty {
        home.remove(name);
    }
}

fn change_home(home: &mut Map<String, Value>, operation: &PatchOperation) -> Result<(), ScimError> {
    let attribute = operation.target.path.attribute;
    match attribute.is_multi {
        true => change_list(home, attribute, operation)?,
        false => change_single(home, attribute, operation)?,
    }
    leave_out_empty(home, attribute.name);
    Ok(())
}

fn change_single(
    home: &mut Map<String, Value>,
    attribute: &'static ScimAttribute,
    operation: &PatchOperation,
) -> Result<(), ScimError> {
    match operation.target.path.part {
        Some(part) => {
            let whole = home.entry(attribute.name).or_insert_with(empty_object);
            set_part(whole, part, operation)
        }
        None => {
            let read = match &operation.value {
                Some(value) if operation.verb != PatchVerb::Remove => read_value(attribute, value)?,
                _ => None,
            };
            match (read, home.get_mut(attribute.name)) {
                (None, _) => {
                    home.remove(attribute.name);
                }
                (Some(Value::Object(parts)), Some(Value::Object(whole))) => whole.extend(parts),
                (Some(value), _) => {
                    home.insert(attribute.name.to_owned(), value);
                }
            }
            Ok(())
        }
    }
}

/// Sets or removes a part of a value.
fn set_part(
    whole: &mut Value,
    part: &'static ScimAttribute,
    operation: &PatchOperation,
) -> Result<(), ScimError> {
    let read = match &operation.value {
        Some(value) if operation.verb != PatchVerb::Remove => read_value(part, value)?,
        _ => None,
    };
    if let Some(whole) = whole.as_object_mut() {
        match read {
            Some(value) => whole.insert(part.name.to_owned(), value),
            None => whole.remove(part.name),
        };
    }
    Ok(())
}

fn change_list(
    home: &mut Map<String, Value>,
    attribute: &'static ScimAttribute,
    operation: &PatchOperation,
) -> Result<(), ScimError> {
    let list = home
        .entry(attribute.name)
        .or_insert_with(|| Value::Array(Vec::new()));
    let Some(list) = list.as_array_mut() else {
        return Ok(());
    };
    match &operation.target.filter {
        Some(filter) => change_chosen(list, attribute, filter, operation)?,
        None => change_whole_list(list, attribute, operation)?,
    }
    list.retain(|value| value.as_object().is_none_or(|parts| !parts.is_empty()));
    // The same bounds as for a list that comes as a whole.
    if let Some(Value::Array(read)) = read_value(attribute, &Value::Array(list.clone()))? {
        *list = read;
    }
    Ok(())
}

fn change_whole_list(
    list: &mut Vec<Value>,
    attribute: &'static ScimAttribute,
    operation: &PatchOperation,
) -> Result<(), ScimError> {
    if let Some(part) = operation.target.path.part {
        if list.is_empty() && operation.verb != PatchVerb::Remove {
            list.push(empty_object());
        }
        return list
            .iter_mut()
            .try_for_each(|value| set_part(value, part, operation));
    }
    let read = match &operation.value {
        Some(value) => read_value(attribute, value)?,
        None => None,
    };
    let values = match read {
        Some(Value::Array(values)) => values,
        _ => Vec::new(),
    };
    match operation.verb {
        PatchVerb::Replace => *list = values,
        PatchVerb::Add => {
            let new: Vec<_> = values
                .into_iter()
                .filter(|value| !list.contains(value))
                .collect();
            if new.iter().any(is_primary) {
                unset_primary(list);
            }
            list.extend(new);
        }
        PatchVerb::Remove if operation.value.as_ref().is_none_or(Value::is_null) => list.clear(),
        PatchVerb::Remove => {
            let is_named = |value: &Value| {
                values.iter().any(|named| {
                    named.get("value").is_some() && named.get("value") == value.get("value")
                })
            };
            list.retain(|value| !is_named(value));
        }
    }
    Ok(())
}

fn unset_primary(list: &mut [Value]) {
    for value in list.iter_mut().filter(|value| is_primary(value)) {
        value["primary"] = Value::Bool(false);
    }
}

/// Changes the values that a filter chooses.
fn change_chosen(
    list: &mut Vec<Value>,
    attribute: &'static ScimAttribute,
    filter: &ScimFilter,
    operation: &PatchOperation,
) -> Result<(), ScimError> {
    let is_chosen = |value: &Value| value.as_object().is_some_and(|value| filter.matches(value));
    let part = operation.target.path.part;
    let Some(wanted) = operation
        .value
        .as_ref()
        .filter(|_| operation.verb != PatchVerb::Remove)
    else {
        match part {
            None => list.retain(|value| !is_chosen(value)),
            Some(part) => {
                let chosen = list.iter_mut().filter(|value| is_chosen(value));
                chosen
                    .into_iter()
                    .try_for_each(|value| set_part(value, part, operation))?;
            }
        }
        return Ok(());
    };
    if !list.iter().any(is_chosen) {
        // What is added where nothing is yet is what the filter asks for.
        let made = match operation.verb {
            PatchVerb::Add => filter.equalities(),
            _ => None,
        };
        let Some(made) = made else {
            let detail = format!("no value of {} is as the path asks", attribute.name);
            return Err(ScimError::new(ScimErrorKind::NoTarget, detail));
        };
        let made = made
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        list.push(Value::Object(made.collect()));
    }
    let chosen: Vec<bool> = list.iter().map(is_chosen).collect();
    let sets_primary = match part {
        Some(part) => {
            part.name == "primary" && read_value(part, wanted)? == Some(Value::Bool(true))
        }
        None => is_primary(wanted),
    };
    if sets_primary {
        unset_primary(list);
    }
    let values = list
        .iter_mut()
        .zip(chosen)
        .filter(|(_, is_chosen)| *is_chosen);
    for (value, _) in values {
        match part {
            Some(part) => set_part(value, part, operation)?,
            None => merge_value(value, attribute, wanted, operation.verb)?,
        }
    }
    Ok(())
}

/// Sets one value of a list as a whole, or adds parts to it.
fn merge_value(
    value: &mut Value,
    attribute: &'static ScimAttribute,
    wanted: &Value,
    verb: PatchVerb,
) -> Result<(), ScimError> {
    let read = read_value(attribute, wanted)?;
    let read = match read {
        Some(Value::Array(mut values)) if values.len() == 1 => values.pop(),
        _ => None,
    };
    match (read, value) {
        (Some(Value::Object(parts)), Value::Object(whole)) => {
            if verb == PatchVerb::Replace {
                whole.clear();
            }
            whole.extend(parts);
            Ok(())
        }
        _ => Err(ScimError::value(format!(
            "one value of {} is an object",
            attribute.name
        ))),
    }
}
