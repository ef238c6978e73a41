//! Names of attributes in messages: `userName`, `name.familyName`,
//! `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department`.

use serde_json::{Map, Value};

use crate::{
    error::{ScimError, ScimErrorKind, shorten},
    schema::{ScimAttribute, ScimSchema, ScimType, find_attribute, find_common_attribute},
};

/// An attribute of a resource, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldPath {
    /// The extension that it belongs to; `None` for the resource's own schema.
    pub extension: Option<&'static ScimSchema>,
    /// The attribute.
    pub attribute: &'static ScimAttribute,
    /// The part.
    pub part: Option<&'static ScimAttribute>,
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedField {
    /// A whole extension.
    Extension(&'static ScimSchema),
    /// An attribute or a part of one.
    Field(FieldPath),
}

impl FieldPath {
    /// Reads a path that names an attribute or a part of one.
    ///
    /// # Errors
    ///
    /// When there is no such attribute.
    pub fn parse(of: ScimType, text: &str) -> Result<Self, ScimError> {
        match parse_name(of, text)? {
            NamedField::Field(path) => Ok(path),
            NamedField::Extension(_) => Err(no_attribute(text)),
        }
    }

    /// Returns the attribute whose values it leads to.
    #[must_use]
    pub fn leaf(&self) -> &'static ScimAttribute {
        self.part.unwrap_or(self.attribute)
    }

    /// Returns the name, such as "name.familyName".
    #[must_use]
    pub fn name(&self) -> String {
        let extension = self
            .extension
            .map_or(String::new(), |of| format!("{}:", of.id));
        let part = self
            .part
            .map_or(String::new(), |part| format!(".{}", part.name));
        format!("{extension}{}{part}", self.attribute.name)
    }

    /// Returns the object of a resource that has the attribute.
    #[must_use]
    pub fn home<'a>(&self, resource: &'a Map<String, Value>) -> Option<&'a Map<String, Value>> {
        match self.extension {
            Some(extension) => resource.get(extension.id)?.as_object(),
            None => Some(resource),
        }
    }

    /// Returns the values that a resource has there: of a list all of them, and of a complex attribute of which no part is named
    /// what its part `value` is.
    #[must_use]
    pub fn find_values<'a>(&self, resource: &'a Map<String, Value>) -> Vec<&'a Value> {
        let value = self
            .home(resource)
            .and_then(|home| home.get(self.attribute.name));
        let values = match value {
            Some(Value::Array(values)) => values.iter().collect(),
            Some(value) => vec![value],
            None => Vec::new(),
        };
        let part = match self.part {
            Some(part) => Some(part.name),
            None => self.attribute.find_part("value").map(|part| part.name),
        };
        match part {
            Some(part) => values
                .into_iter()
                .filter_map(|value| value.get(part))
                .collect(),
            None => values,
        }
    }
}

/// Reads a path. A name of the resource's own schema may have its URN before it.
///
/// # Errors
///
/// When there is no such attribute.
pub fn parse_name(of: ScimType, text: &str) -> Result<NamedField, ScimError> {
    for extension in of.extensions() {
        if text.eq_ignore_ascii_case(extension.id) {
            return Ok(NamedField::Extension(extension));
        }
        if let Some(rest) = strip_urn(text, extension.id) {
            return read_name(extension.attributes, Some(extension), rest)
                .map(NamedField::Field)
                .ok_or_else(|| no_attribute(text));
        }
    }
    let own = of.schema();
    let rest = strip_urn(text, own.id).unwrap_or(text);
    let name = rest.split('.').next().unwrap_or_default();
    let found = match find_common_attribute(name) {
        Some(attribute) => read_parts(attribute, None, rest),
        None => read_name(own.attributes, None, rest),
    };
    found
        .map(NamedField::Field)
        .ok_or_else(|| no_attribute(text))
}

fn strip_urn<'a>(text: &'a str, urn: &str) -> Option<&'a str> {
    let head = text.get(..urn.len())?;
    let rest = text.get(urn.len()..)?.strip_prefix(':')?;
    head.eq_ignore_ascii_case(urn).then_some(rest)
}

fn read_name(
    attributes: &'static [ScimAttribute],
    extension: Option<&'static ScimSchema>,
    text: &str,
) -> Option<FieldPath> {
    let name = text.split('.').next()?;
    read_parts(find_attribute(attributes, name)?, extension, text)
}

fn read_parts(
    attribute: &'static ScimAttribute,
    extension: Option<&'static ScimSchema>,
    text: &str,
) -> Option<FieldPath> {
    let part = match text.split_once('.') {
        Some((_, part)) => Some(attribute.find_part(part)?),
        None => None,
    };
    Some(FieldPath {
        extension,
        attribute,
        part,
    })
}

fn no_attribute(text: &str) -> ScimError {
    let text = shorten(text);
    ScimError::new(
        ScimErrorKind::InvalidPath,
        format!(
            "there is no attribute \"{text}\": the schemas at /Schemas list those that there are"
        ),
    )
}

#[cfg(test)]
mod tests;
