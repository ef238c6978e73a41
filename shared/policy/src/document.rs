//! Reads HuJSON into a tree that knows the place of each value: JSON with comments and trailing commas, nothing else
//! (policy section 1).

mod text_positions;

use std::collections::HashSet;

use jsonc_parser::{
    CollectOptions, ParseOptions,
    ast::{Array, Object, ObjectProp, Value},
    common::Ranged as _,
    errors::ParseErrorKind,
    parse_to_ast,
};

use crate::problem::Problem;
use text_positions::TextPositions;

/// The longest document.
const LONGEST: usize = 16 << 20;
/// The deepest nesting; the language needs six levels.
const DEEPEST: usize = 64;

const STRICT: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// The most mistakes that are reported of one document.
const MOST_PROBLEMS: usize = 50;
/// The most characters of one message: messages quote the document.
const LONGEST_MESSAGE: usize = 500;
/// The longest key: every message about what is inside quotes it.
const LONGEST_NAME: usize = 256;

/// What is wrong with a document, in bounded length.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// Adds a mistake, unless there are too many.
    pub(crate) fn push(&mut self, mut problem: Problem) {
        if self.0.len() < MOST_PROBLEMS {
            if let Some((end, _)) = problem.message.char_indices().nth(LONGEST_MESSAGE) {
                problem.message.truncate(end);
                problem.message.push('…');
            }
            self.0.push(problem);
        }
    }

    /// Returns what was found.
    pub(crate) fn into_vec(self) -> Vec<Problem> {
        self.0
    }
}

/// Reads values of a document's tree, and adds a mistake for each that has the wrong type.
#[derive(Clone, Copy)]
pub(crate) struct SyntaxReader<'t> {
    positions: &'t TextPositions<'t>,
}

/// Parses a document and hands its top-level object to `read`; `None` for one without content.
pub(crate) fn parse<T>(
    text: &str,
    read: impl FnOnce(SyntaxReader<'_>, &Object<'_>) -> T,
) -> Result<Option<T>, Problem> {
    if text.len() > LONGEST {
        let message = format!("the document is longer than {} MiB", LONGEST >> 20);
        return Err(Problem {
            line: 0,
            column: 0,
            message,
            hint: String::new(),
        });
    }
    let positions = TextPositions::new(text);
    let parsed = parse_to_ast(text, &CollectOptions::default(), &STRICT).map_err(|error| {
        let message = match error.kind() {
            ParseErrorKind::NestingDepthExceeded => too_deep_message(),
            kind => kind.to_string(),
        };
        positions.problem_at(error.range().start, message)
    })?;
    match &parsed.value {
        None => Ok(None),
        Some(value) if let Some(offset) = find_too_deep(value, DEEPEST) => {
            Err(positions.problem_at(offset, too_deep_message()))
        }
        Some(Value::Object(object)) => Ok(Some(read(
            SyntaxReader {
                positions: &positions,
            },
            object,
        ))),
        Some(other) => {
            Err(positions.problem_at(other.range().start, "the document is not an object"))
        }
    }
}

fn too_deep_message() -> String {
    format!("nesting is deeper than {DEEPEST} levels")
}

/// Returns where nesting becomes too deep.
fn find_too_deep(value: &Value<'_>, levels: usize) -> Option<usize> {
    let mut inside: Box<dyn Iterator<Item = &Value<'_>>> = match value {
        Value::Array(array) => Box::new(array.elements.iter()),
        Value::Object(object) => Box::new(object.properties.iter().map(|one| &one.value)),
        _ => return None,
    };
    match levels.checked_sub(1) {
        Some(levels) => inside.find_map(|value| find_too_deep(value, levels)),
        None => Some(value.range().start),
    }
}

impl<'t> SyntaxReader<'t> {
    /// Returns a problem at a value.
    pub(crate) fn problem(self, value: &Value<'_>, message: impl Into<String>) -> Problem {
        self.positions.problem_at(value.range().start, message)
    }

    /// Returns the members of an object in order, with canonical names; unknown and repeated ones are problems.
    pub(crate) fn read_members<'a>(
        self,
        object: &'a Object<'a>,
        known: &'static [&'static str],
        problems: &mut Problems,
    ) -> Vec<(&'static str, &'a Value<'a>)> {
        let mut members: Vec<(&'static str, &Value<'_>)> = Vec::new();
        for property in &object.properties {
            let name = property.name.as_str();
            let place = property.range.start;
            // Tools keep notes under such names.
            if name.starts_with('#') || self.refuse_long_name(property, problems) {
                continue;
            }
            match known.iter().find(|known| known.eq_ignore_ascii_case(name)) {
                Some(known) if members.iter().any(|(seen, _)| seen == known) => {
                    let message = format!("duplicate field: \"{name}\"");
                    problems.push(self.positions.problem_at(place, message));
                }
                Some(known) => members.push((known, &property.value)),
                None => {
                    let message = format!("unknown field: \"{name}\"");
                    let problem = self.positions.problem_at(place, message);
                    let is_told = problems.0.len() < MOST_PROBLEMS;
                    let near = is_told.then(|| find_nearest(name, known)).flatten();
                    problems.push(match near {
                        Some(near) => problem.with_hint(format!("did you mean \"{near}\"?")),
                        None => problem,
                    });
                }
            }
        }
        members.retain(|(_, value)| !matches!(value, Value::NullKeyword(_)));
        members
    }

    /// Returns the entries of an object whose keys are data, each with the place of its key; repeated keys are problems.
    pub(crate) fn read_entries<'a>(
        self,
        value: &'a Value<'a>,
        problems: &mut Problems,
    ) -> Vec<(&'a str, &'a Value<'a>, usize)> {
        let Value::Object(object) = value else {
            problems.push(self.problem(value, "this is not an object"));
            return Vec::new();
        };
        let mut seen = HashSet::new();
        let mut entries: Vec<(&str, &Value<'_>, usize)> = Vec::new();
        for property in &object.properties {
            let (name, place) = (property.name.as_str(), property.range.start);
            if self.refuse_long_name(property, problems) {
                continue;
            }
            if seen.insert(name) {
                entries.push((name, &property.value, place));
            } else {
                let message = format!("duplicate key: \"{name}\"");
                problems.push(self.positions.problem_at(place, message));
            }
        }
        entries
    }

    fn refuse_long_name(self, property: &ObjectProp<'_>, problems: &mut Problems) -> bool {
        let is_too_long = property.name.as_str().len() > LONGEST_NAME;
        if is_too_long {
            let message = format!("a key is longer than {LONGEST_NAME} bytes");
            problems.push(self.positions.problem_at(property.range.start, message));
        }
        is_too_long
    }

    /// Returns the elements of an array.
    pub(crate) fn read_elements<'a>(
        self,
        value: &'a Value<'a>,
        problems: &mut Problems,
    ) -> &'a [Value<'a>] {
        match value {
            Value::Array(Array { elements, .. }) => elements,
            other => {
                problems.push(self.problem(other, "this is not an array"));
                &[]
            }
        }
    }

    /// Returns a string.
    pub(crate) fn read_string<'a>(
        self,
        value: &'a Value<'a>,
        problems: &mut Problems,
    ) -> Option<&'a str> {
        match value {
            Value::StringLit(text) => Some(text.value.as_ref()),
            other => {
                problems.push(self.problem(other, "this is not a string"));
                None
            }
        }
    }

    /// Returns an array of strings, each with its value, which knows the place.
    pub(crate) fn read_strings<'a>(
        self,
        value: &'a Value<'a>,
        problems: &mut Problems,
    ) -> Vec<(&'a str, &'a Value<'a>)> {
        let elements = self.read_elements(value, problems);
        elements
            .iter()
            .filter_map(|element| Some((self.read_string(element, problems)?, element)))
            .collect()
    }

    /// Returns true or false.
    pub(crate) fn read_boolean(self, value: &Value<'_>, problems: &mut Problems) -> bool {
        if let Value::BooleanLit(literal) = value {
            return literal.value;
        }
        problems.push(self.problem(value, "this is neither true nor false"));
        false
    }

    /// Returns the line of a value, from one.
    pub(crate) fn line_of(self, value: &Value<'_>) -> u32 {
        self.positions.line_at(value.range().start)
    }

    /// Returns a problem at an offset.
    pub(crate) fn problem_at(self, offset: usize, message: impl Into<String>) -> Problem {
        self.positions.problem_at(offset, message)
    }
}

/// Returns a value as JSON text: numbers digit for digit, members in order, no comments.
pub(crate) fn to_json(value: &Value<'_>) -> String {
    let joined = |parts: Vec<String>| parts.join(",");
    match value {
        Value::NullKeyword(_) => "null".to_owned(),
        Value::BooleanLit(literal) => literal.value.to_string(),
        Value::NumberLit(number) => number.value.to_owned(),
        Value::StringLit(text) => to_json_string(&text.value),
        Value::Array(array) => {
            format!("[{}]", joined(array.elements.iter().map(to_json).collect()))
        }
        Value::Object(object) => {
            let member = |property: &ObjectProp<'_>| {
                format!(
                    "{}:{}",
                    to_json_string(property.name.as_str()),
                    to_json(&property.value)
                )
            };
            format!(
                "{{{}}}",
                joined(object.properties.iter().map(member).collect())
            )
        }
    }
}

fn to_json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn find_nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let name = name.to_lowercase();
    let distance = |known: &&str| strsim::damerau_levenshtein(&name, &known.to_lowercase());
    known
        .iter()
        .copied()
        .min_by_key(distance)
        .filter(|near| distance(near) <= 3.min(name.chars().count() / 2))
}
