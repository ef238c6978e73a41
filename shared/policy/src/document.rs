//! Reads HuJSON into a tree with places: JSON with comments and trailing commas, nothing else (policy reference
//! section 1).

use std::collections::HashSet;

use jsonc_parser::{
    CollectOptions, ParseOptions,
    ast::{Array, Object, ObjectProp, Value},
    common::Ranged as _,
    parse_to_ast,
};

use crate::problem::Problem;

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

/// The most mistakes that are told of one document.
const MOST_PROBLEMS: usize = 50;

/// What is wrong with a document, as far as it is told.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// Adds a mistake, if there are not too many.
    pub(crate) fn push(&mut self, problem: Problem) {
        if self.0.len() < MOST_PROBLEMS {
            self.0.push(problem);
        }
    }

    /// Returns what was found.
    pub(crate) fn into_vec(self) -> Vec<Problem> {
        self.0
    }
}

/// A document with the helpers that read it.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'t> {
    text: &'t str,
    /// Where lines end.
    newlines: &'t [usize],
}

/// Parses a document and hands its top-level object to `read`; `None` for one without content.
pub(crate) fn parse<T>(
    text: &str,
    read: impl FnOnce(Reader<'_>, &Object<'_>) -> T,
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
    if let Some(offset) = too_deep(text) {
        return Err(Problem::at(
            text,
            offset,
            format!("nesting is deeper than {DEEPEST} levels"),
        ));
    }
    let parsed = parse_to_ast(text, &CollectOptions::default(), &STRICT)
        .map_err(|error| Problem::at(text, error.range().start, error.kind().to_string()))?;
    match &parsed.value {
        None => Ok(None),
        Some(Value::Object(object)) => {
            let newlines: Vec<_> = text.match_indices('\n').map(|(at, _)| at).collect();
            let newlines = &newlines;
            Ok(Some(read(Reader { text, newlines }, object)))
        }
        Some(other) => Err(Problem::at(
            text,
            other.range().start,
            "the document is not an object",
        )),
    }
}

/// Returns where nesting becomes too deep, so that the parser's stack is safe.
fn too_deep(text: &str) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (offset, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                if depth > DEEPEST {
                    return Some(offset);
                }
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

impl<'t> Reader<'t> {
    /// Returns a problem at a value.
    pub(crate) fn problem(self, value: &Value<'_>, message: impl Into<String>) -> Problem {
        Problem::at(self.text, value.range().start, message)
    }

    /// Returns the members of an object in order, with canonical names; unknown and repeated ones are problems.
    pub(crate) fn members<'a>(
        self,
        object: &'a Object<'a>,
        known: &'static [&'static str],
        problems: &mut Problems,
    ) -> Vec<(&'static str, &'a Value<'a>)> {
        let mut members: Vec<(&'static str, &Value<'_>)> = Vec::new();
        for property in &object.properties {
            let name = property.name.as_str();
            let place = property.range.start;
            // Tools leave notes under such names.
            if name.starts_with('#') {
                continue;
            }
            match known.iter().find(|known| known.eq_ignore_ascii_case(name)) {
                Some(known) if members.iter().any(|(seen, _)| seen == known) => {
                    let message = format!("duplicate field: \"{name}\"");
                    problems.push(Problem::at(self.text, place, message));
                }
                Some(known) => members.push((known, &property.value)),
                None => {
                    let message = format!("unknown field: \"{name}\"");
                    let problem = Problem::at(self.text, place, message);
                    problems.push(match nearest(name, known) {
                        Some(near) => problem.hint(format!("did you mean \"{near}\"?")),
                        None => problem,
                    });
                }
            }
        }
        members.retain(|(_, value)| !matches!(value, Value::NullKeyword(_)));
        members
    }

    /// Returns the entries of a map whose keys are data; repeated keys are problems.
    pub(crate) fn entries<'a>(
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
            if seen.insert(name) {
                entries.push((name, &property.value, place));
            } else {
                let message = format!("duplicate key: \"{name}\"");
                problems.push(Problem::at(self.text, place, message));
            }
        }
        entries
    }

    /// Returns the elements of an array.
    pub(crate) fn elements<'a>(
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
    pub(crate) fn string<'a>(
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

    /// Returns an array of strings, each with its value for a place.
    pub(crate) fn strings<'a>(
        self,
        value: &'a Value<'a>,
        problems: &mut Problems,
    ) -> Vec<(&'a str, &'a Value<'a>)> {
        let elements = self.elements(value, problems);
        elements
            .iter()
            .filter_map(|element| Some((self.string(element, problems)?, element)))
            .collect()
    }

    /// Returns true or false.
    pub(crate) fn boolean(self, value: &Value<'_>, problems: &mut Problems) -> bool {
        if let Value::BooleanLit(literal) = value {
            return literal.value;
        }
        problems.push(self.problem(value, "this is neither true nor false"));
        false
    }

    /// Returns the line of a value, from one.
    pub(crate) fn line(self, value: &Value<'_>) -> u32 {
        let start = value.range().start;
        let before = self.newlines.partition_point(|newline| *newline < start);
        u32::try_from(before + 1).unwrap_or(u32::MAX)
    }

    /// Returns a problem at an offset.
    pub(crate) fn problem_at(self, offset: usize, message: impl Into<String>) -> Problem {
        Problem::at(self.text, offset, message)
    }
}

/// Returns a value as JSON text: numbers digit for digit, members in order, no comments.
pub(crate) fn json(value: &Value<'_>) -> String {
    let joined = |parts: Vec<String>| parts.join(",");
    match value {
        Value::NullKeyword(_) => "null".to_owned(),
        Value::BooleanLit(literal) => literal.value.to_string(),
        Value::NumberLit(number) => number.value.to_owned(),
        Value::StringLit(text) => quoted(&text.value),
        Value::Array(array) => {
            format!("[{}]", joined(array.elements.iter().map(json).collect()))
        }
        Value::Object(object) => {
            let member = |property: &ObjectProp<'_>| {
                format!(
                    "{}:{}",
                    quoted(property.name.as_str()),
                    json(&property.value)
                )
            };
            format!(
                "{{{}}}",
                joined(object.properties.iter().map(member).collect())
            )
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let name = name.to_lowercase();
    let distance = |known: &&str| strsim::damerau_levenshtein(&name, &known.to_lowercase());
    known
        .iter()
        .copied()
        .min_by_key(distance)
        .filter(|near| distance(near) <= 3)
}
