//! Which attributes an answer has (RFC 7644 section 3.9).

use serde_json::{Map, Value};

use crate::{
    error::ScimError,
    path::{FieldPath, NamedField, parse_name},
    schema::ScimType,
};

/// The most names in a request.
const MOST_NAMES: usize = 200;

/// Which attributes an answer has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    /// Whether the request names what it wants.
    is_chosen: bool,
    /// Those alone, beside what every answer has, where it does.
    only: Vec<NamedField>,
    /// Not those.
    without: Vec<NamedField>,
}

impl Projection {
    /// Reads `attributes` and `excludedAttributes`: names with commas between them. What there is not is in no answer anyway.
    ///
    /// # Errors
    ///
    /// When both are given, or more than 200 names.
    pub fn parse(of: ScimType, only: &str, without: &str) -> Result<Self, ScimError> {
        if !only.trim().is_empty() && !without.trim().is_empty() {
            let text = "attributes and excludedAttributes exclude each other: send one of them";
            return Err(ScimError::value(text));
        }
        Ok(Self {
            is_chosen: !only.trim().is_empty(),
            only: read_names(of, only)?,
            without: read_names(of, without)?,
        })
    }

    /// Says whether an answer has an attribute of the resource's own schema, or a part of it.
    #[must_use]
    pub fn has(&self, attribute: &str) -> bool {
        let is_it = |named: &NamedField| match named {
            NamedField::Field(path) => path.extension.is_none() && path.attribute.name == attribute,
            NamedField::Extension(_) => false,
        };
        let is_whole = |named: &NamedField| match named {
            NamedField::Field(path) => path.part.is_none(),
            NamedField::Extension(_) => true,
        };
        let is_left_out = self
            .without
            .iter()
            .any(|named| is_it(named) && is_whole(named));
        (!self.is_chosen || self.only.iter().any(is_it)) && !is_left_out
    }

    /// Says whether the request names the attributes that it wants.
    #[must_use]
    pub fn is_chosen(&self) -> bool {
        self.is_chosen
    }

    /// Leaves out what the answer does not have.
    #[must_use]
    pub fn apply(&self, mut resource: Map<String, Value>) -> Map<String, Value> {
        for named in &self.without {
            leave_out(&mut resource, named);
        }
        if !self.is_chosen {
            return resource;
        }
        let mut kept = Map::new();
        for always in ["schemas", "id"] {
            if let Some(value) = resource.get(always) {
                kept.insert(always.to_owned(), value.clone());
            }
        }
        for named in &self.only {
            keep(&resource, named, &mut kept);
        }
        kept
    }
}

fn read_names(of: ScimType, names: &str) -> Result<Vec<NamedField>, ScimError> {
    let names = names.split(',').map(str::trim);
    let names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
    if names.len() > MOST_NAMES {
        return Err(ScimError::value("more than 200 attributes are named"));
    }
    Ok(names
        .into_iter()
        .filter_map(|name| parse_name(of, name).ok())
        .collect())
}

fn leave_out(resource: &mut Map<String, Value>, named: &NamedField) {
    let path = match named {
        NamedField::Extension(extension) => {
            resource.remove(extension.id);
            return;
        }
        NamedField::Field(path) => path,
    };
    if path.attribute.is_always_returned {
        return;
    }
    let home = match path.extension {
        Some(extension) => resource
            .get_mut(extension.id)
            .and_then(Value::as_object_mut),
        None => Some(resource),
    };
    let Some(home) = home else {
        return;
    };
    let Some(part) = path.part else {
        home.remove(path.attribute.name);
        return;
    };
    let values = match home.get_mut(path.attribute.name) {
        Some(Value::Array(values)) => values.as_mut_slice(),
        Some(value) => std::slice::from_mut(value),
        None => &mut [],
    };
    for value in values.iter_mut().filter_map(Value::as_object_mut) {
        value.remove(part.name);
    }
}

fn keep(resource: &Map<String, Value>, named: &NamedField, kept: &mut Map<String, Value>) {
    let path = match named {
        NamedField::Extension(extension) => {
            if let Some(value) = resource.get(extension.id) {
                kept.insert(extension.id.to_owned(), value.clone());
            }
            return;
        }
        NamedField::Field(path) => path,
    };
    let value = path
        .home(resource)
        .and_then(|home| home.get(path.attribute.name));
    let Some(value) = value else {
        return;
    };
    let home = match path.extension {
        Some(extension) => {
            let home = kept
                .entry(extension.id)
                .or_insert_with(|| Value::Object(Map::new()));
            match home.as_object_mut() {
                Some(home) => home,
                None => return,
            }
        }
        None => kept,
    };
    match path.part {
        None => {
            home.insert(path.attribute.name.to_owned(), value.clone());
        }
        Some(part) => merge_part(home, path, part.name, value),
    }
}

/// Keeps one part of a value, or of each value of a list, beside the parts that are kept already.
fn merge_part(home: &mut Map<String, Value>, path: &FieldPath, part: &str, value: &Value) {
    let pick = |value: &Value, into: &mut Value| {
        if let (Some(found), Some(into)) = (value.get(part), into.as_object_mut()) {
            into.insert(part.to_owned(), found.clone());
        }
    };
    let empty = || Value::Object(Map::new());
    match value {
        Value::Array(values) => {
            let list = home
                .entry(path.attribute.name)
                .or_insert_with(|| Value::Array(values.iter().map(|_| empty()).collect()));
            let list = list
                .as_array_mut()
                .map_or(&mut [][..], |list| list.as_mut_slice());
            for (value, into) in values.iter().zip(list) {
                pick(value, into);
            }
        }
        value => pick(value, home.entry(path.attribute.name).or_insert_with(empty)),
    }
}

#[cfg(test)]
mod tests;
