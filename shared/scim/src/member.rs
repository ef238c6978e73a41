//! What a request does to the members of a group. It names those that change, so that a group of any size costs no more than that.

use serde_json::{Map, Value};

use crate::{
    error::{ScimError, ScimErrorKind},
    patch::{PatchOperation, PatchVerb},
    resource::find_key,
};

/// A change of the members of a group. People are named by their identifiers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberChange {
    /// These come in.
    Add(Vec<String>),
    /// These go out.
    Remove(Vec<String>),
    /// These are all.
    Replace(Vec<String>),
}

/// Takes the members out of a group that a client wants; `None` where it says nothing of them.
///
/// # Errors
///
/// When one of them is no person.
pub fn take_members(group: &mut Map<String, Value>) -> Result<Option<Vec<String>>, ScimError> {
    group
        .remove("members")
        .map(|members| read_members(&members))
        .transpose()
}

/// Returns what an operation does to the members; `None` where it is about something else.
///
/// # Errors
///
/// When it chooses members otherwise than by their values, or one of them is no person.
pub fn read_member_change(operation: &PatchOperation) -> Result<Option<MemberChange>, ScimError> {
    let target = &operation.target;
    if target.path.attribute.name != "members" {
        return Ok(None);
    }
    if target.path.part.is_some() {
        let detail = "a member is not changed: remove it and add another";
        return Err(ScimError::new(ScimErrorKind::Mutability, detail));
    }
    let value = operation.value.as_ref();
    Ok(Some(match (operation.verb, &target.filter, value) {
        (PatchVerb::Remove, Some(filter), _) => {
            let named = filter.alternatives("value");
            let named = named.ok_or_else(|| {
                let detail =
                    "members are chosen by their values, as in members[value eq \"2819c223\"]";
                ScimError::new(ScimErrorKind::InvalidPath, detail)
            })?;
            MemberChange::Remove(named.into_iter().map(str::to_owned).collect())
        }
        (_, Some(_), _) => {
            let detail = "a member is not changed: remove it and add another";
            return Err(ScimError::new(ScimErrorKind::Mutability, detail));
        }
        (PatchVerb::Remove, None, Some(value)) if !value.is_null() => {
            MemberChange::Remove(read_members(value)?)
        }
        (PatchVerb::Remove, None, _) => MemberChange::Replace(Vec::new()),
        (PatchVerb::Add, None, Some(value)) => MemberChange::Add(read_members(value)?),
        (PatchVerb::Replace, None, Some(value)) => MemberChange::Replace(read_members(value)?),
        (PatchVerb::Add | PatchVerb::Replace, None, None) => {
            return Err(ScimError::value("the operation on members has no value"));
        }
    }))
}

/// Reads who is named.
fn read_members(value: &Value) -> Result<Vec<String>, ScimError> {
    let members = match value {
        Value::Null => &[],
        Value::Array(members) => members.as_slice(),
        single => std::slice::from_ref(single),
    };
    members.iter().map(read_member).collect()
}

fn read_member(member: &Value) -> Result<String, ScimError> {
    let (id, kind) = match member {
        Value::Object(parts) => (find_key(parts, "value"), find_key(parts, "type")),
        id => (Some(id), None),
    };
    let kind = kind.and_then(Value::as_str).unwrap_or("User");
    if !kind.eq_ignore_ascii_case("user") {
        let text = "a group has people as members, and no groups: provision who is in them";
        return Err(ScimError::value(text));
    }
    match id {
        Some(Value::String(id)) if !id.is_empty() => Ok(id.clone()),
        _ => Err(ScimError::value(
            "a member has no value: it is the person's id",
        )),
    }
}

#[cfg(test)]
mod tests;
