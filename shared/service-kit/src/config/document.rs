//! The merged text of a configuration, and where each part of it came from.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, Error};

use super::{ConfigError, Findings, environment};

/// A configuration before it is typed.
///
/// A value from the environment has a span behind the end of the text, one for each variable, so that an error
/// there leads back to the variable.
pub(super) struct Document<'t> {
    name: String,
    text: &'t str,
    root: Spanned<DeTable<'t>>,
    variables: Vec<&'t str>,
}

impl<'t> Document<'t> {
    pub(super) fn parse(name: String, text: &'t str) -> Result<Self, ConfigError> {
        match DeTable::parse(text) {
            Ok(root) => Ok(Self {
                name,
                text,
                root,
                variables: Vec::new(),
            }),
            Err(error) => {
                let place = place_of_span(&name, text, &[], error.span().as_ref());
                Err(ConfigError::Invalid {
                    place,
                    message: error.message().to_owned(),
                })
            }
        }
    }

    /// Puts the variables over the text's values, in the order given.
    pub(super) fn with_variables(
        mut self,
        variables: &'t [(String, String)],
    ) -> Result<Self, ConfigError> {
        let variables = variables
            .iter()
            .filter_map(|(name, value)| Some((name, environment::setting_path(name)?, value)));
        for (name, path, value) in variables {
            let at = self.text.len() + 1 + self.variables.len();
            self.variables.push(name);
            let given = Given {
                value,
                span: at..at,
                end_of_text: self.text.len(),
            };
            if !set_value(self.root.get_mut(), &path, given) {
                let message = "a value is there where the variable expects a table".to_owned();
                return Err(ConfigError::Invalid {
                    place: self.describe_place(Some(&(at..at))),
                    message,
                });
            }
        }
        Ok(self)
    }

    /// Reads the typed configuration, fetching the files of `_file` keys that it has no field for.
    pub(super) fn read_config<T: DeserializeOwned>(mut self) -> Result<T, ConfigError> {
        self.try_read().map_err(|(problem, _)| problem)
    }

    /// Reads the typed configuration again and again without what is wrong, and returns all that was.
    pub(super) fn read_with_problems<T: DeserializeOwned>(mut self) -> Findings<T> {
        let mut problems = Vec::new();
        loop {
            match self.try_read() {
                Ok(config) => {
                    let config = Some(config);
                    return Findings { problems, config };
                }
                Err((problem, span)) => {
                    problems.push(problem);
                    let is_gone = span.is_some_and(|span| remove_span(self.root.get_mut(), &span));
                    if !is_gone {
                        let config = None;
                        return Findings { problems, config };
                    }
                }
            }
        }
    }

    /// Reads the typed configuration; an error comes with its place in the text.
    fn try_read<T: DeserializeOwned>(&mut self) -> Result<T, (ConfigError, Option<Range<usize>>)> {
        loop {
            let error = match T::deserialize(Deserializer::from(self.root.clone())) {
                Ok(config) => return Ok(config),
                Err(error) => error,
            };
            let span = error.span();
            let place = self.describe_place(span.as_ref());
            let Some((key, known)) = unknown_key(&error) else {
                let message = error.message().to_owned();
                return Err((ConfigError::Invalid { place, message }, span));
            };
            let twin = key
                .strip_suffix("_file")
                .filter(|twin| known.contains(twin));
            let (Some(twin), Some(at)) = (twin, span.clone()) else {
                let nearest = nearest_name(key, &known).map(str::to_owned);
                let key = key.to_owned();
                let problem = ConfigError::UnknownKey {
                    place,
                    key,
                    nearest,
                };
                return Err((problem, span));
            };
            self.fetch_file(twin, &at, place)
                .map_err(|problem| (problem, span))?;
        }
    }

    /// Replaces the key at `span`, which names a file, by its twin with the file's text.
    fn fetch_file(
        &mut self,
        twin: &str,
        span: &Range<usize>,
        place: String,
    ) -> Result<(), ConfigError> {
        let key = format!("{twin}_file");
        let table = table_with(self.root.get_mut(), &key, span);
        let value = table
            .as_ref()
            .and_then(|table| table.get(key.as_str())?.get_ref().as_str());
        let (Some(path), Some(table)) = (value.map(str::to_owned), table) else {
            return Err(ConfigError::Invalid {
                place,
                message: format!("\"{key}\" must be text"),
            });
        };
        if table.contains_key(twin) {
            return Err(ConfigError::Both {
                place,
                key: twin.to_owned(),
            });
        }
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::SecretFile {
            place,
            key: key.clone(),
            source,
        })?;
        table.remove(key.as_str());
        let value = DeValue::String(Cow::Owned(text.trim_end_matches(['\r', '\n']).to_owned()));
        let name = Spanned::new(span.clone(), Cow::Owned(twin.to_owned()));
        table.insert(name, Spanned::new(span.clone(), value));
        Ok(())
    }

    fn describe_place(&self, span: Option<&Range<usize>>) -> String {
        place_of_span(&self.name, self.text, &self.variables, span)
    }
}

/// Returns where a span is: a variable, or a line and column of the file.
fn place_of_span(
    name: &str,
    text: &str,
    variables: &[&str],
    span: Option<&Range<usize>>,
) -> String {
    let Some(&Range { start, .. }) = span else {
        return name.to_owned();
    };
    let variable = start
        .checked_sub(text.len() + 1)
        .and_then(|index| variables.get(index));
    if let Some(variable) = variable {
        return format!("environment variable {variable}");
    }
    let before = text.get(..start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let written = before
        .rsplit_once('\n')
        .map_or(before, |(_, written)| written);
    let column = written.chars().count() + 1;
    format!("{name}, line {line}, column {column}")
}

/// What a variable says.
struct Given<'t> {
    value: &'t str,
    span: Range<usize>,
    /// Where the file's text ends: the spans of variables are behind it.
    end_of_text: usize,
}

/// Sets a value deep in a table; tells whether the way there leads through tables.
fn set_value<'t>(table: &mut DeTable<'t>, path: &str, given: Given<'t>) -> bool {
    let (key, rest) = path
        .split_once("__")
        .map_or((path, None), |(key, rest)| (key, Some(rest)));
    let span = given.span.clone();
    let name = Spanned::new(span.clone(), Cow::Owned(key.to_owned()));
    let Some(rest) = rest else {
        // Removed first: the old key would keep its place in the file.
        table.remove(key);
        // What the file says of it in its other form is overridden, too.
        let twin = key
            .strip_suffix("_file")
            .map_or_else(|| format!("{key}_file"), str::to_owned);
        let is_in_text =
            |(name, _): (&Spanned<Cow<'_, str>>, _)| name.span().end <= given.end_of_text;
        if table.get_key_value(twin.as_str()).is_some_and(is_in_text) {
            table.remove(twin.as_str());
        }
        if !given.value.is_empty() {
            table.insert(name, Spanned::new(span, parse_value(given.value)));
        }
        return true;
    };
    let inner = table
        .entry(name)
        .or_insert_with(|| Spanned::new(span.clone(), DeValue::Table(DeTable::new())));
    match inner.get_mut() {
        DeValue::Table(inner) => set_value(inner, rest, given),
        _ => false,
    }
}

/// Returns what a variable's text means.
fn parse_value(text: &str) -> DeValue<'_> {
    match DeValue::parse(text).map(Spanned::into_inner) {
        Ok(value) if !value.is_str() && !value.is_datetime() => value,
        _ => DeValue::String(Cow::Borrowed(text)),
    }
}

/// Takes out the key that has this place, or whose value has it; tells whether there was one.
fn remove_span(table: &mut DeTable<'_>, span: &Range<usize>) -> bool {
    let found = table
        .iter()
        .find(|(key, value)| key.span() == *span || value.span() == *span)
        .map(|(key, _)| key.get_ref().clone().into_owned());
    if let Some(key) = found {
        return table.remove(key.as_str()).is_some();
    }
    table.iter_mut().any(|(_, value)| match value.get_mut() {
        DeValue::Table(table) => remove_span(table, span),
        _ => false,
    })
}

/// Finds the table with this key at this place.
fn table_with<'a, 't>(
    table: &'a mut DeTable<'t>,
    key: &str,
    span: &Range<usize>,
) -> Option<&'a mut DeTable<'t>> {
    if table
        .get_key_value(key)
        .is_some_and(|(name, _)| name.span() == *span)
    {
        return Some(table);
    }
    table
        .iter_mut()
        .find_map(|(_, value)| find_table(value.get_mut(), key, span))
}

fn find_table<'a, 't>(
    value: &'a mut DeValue<'t>,
    key: &str,
    span: &Range<usize>,
) -> Option<&'a mut DeTable<'t>> {
    match value {
        DeValue::Table(table) => table_with(table, key, span),
        DeValue::Array(values) => values
            .iter_mut()
            .find_map(|value| find_table(value.get_mut(), key, span)),
        _ => None,
    }
}

/// Returns the key and the known ones from serde's words about an unknown field.
fn unknown_key(error: &Error) -> Option<(&str, Vec<&str>)> {
    let quoted = error.message().strip_prefix("unknown field `")?;
    let (key, rest) = quoted.split_once('`')?;
    // Between back-quotes: every second piece.
    Some((key, rest.split('`').skip(1).step_by(2).collect()))
}

fn nearest_name<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let close = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(key, name), *name));
    close
        .filter(|(steps, name)| *steps <= 2.max(name.len() / 3))
        .min()
        .map(|(_, name)| name)
}
