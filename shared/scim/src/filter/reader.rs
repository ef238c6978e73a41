//! Reads filters: recursive descent, in which "or" binds weakest.

use serde_json::{Deserializer, Value};

use super::{
    CompareOperator, Condition, DEEPEST, Field, LONGEST_FILTER, MOST_COMPARISONS, Operand, refuse,
};
use crate::{
    error::{ScimError, ScimErrorKind, shorten},
    path::FieldPath,
    schema::{ScimAttribute, ScimType},
};

/// What a filter is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject {
    /// Resources.
    Resource(ScimType),
    /// The values of a list.
    Values(&'static ScimAttribute),
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
    comparisons: usize,
}

/// Reads a whole text.
pub(super) fn read_filter(subject: Subject, text: &str) -> Result<Condition, ScimError> {
    let mut reader = Reader::new(text)?;
    let condition = reader.read_any(subject)?;
    reader.skip_spaces();
    match reader.rest {
        "" => Ok(condition),
        rest => Err(refuse(format!(
            "\"{}\" stands behind the end of the filter: join conditions by and, or",
            shorten(rest)
        ))),
    }
}

/// Reads a text up to the bracket that closes the filter of a list's values; returns what is behind it.
pub(super) fn read_value_filter<'a>(
    list: &'static ScimAttribute,
    text: &'a str,
) -> Result<(Condition, &'a str), ScimError> {
    let mut reader = Reader::new(text)?;
    let condition = reader.read_any(Subject::Values(list))?;
    reader.expect(']')?;
    Ok((condition, reader.rest))
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Result<Self, ScimError> {
        if text.len() > LONGEST_FILTER {
            return Err(refuse(format!(
                "the filter is longer than {LONGEST_FILTER} bytes: ask more than once"
            )));
        }
        Ok(Self {
            rest: text,
            depth: 0,
            comparisons: 0,
        })
    }

    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn expect(&mut self, wanted: char) -> Result<(), ScimError> {
        self.skip_spaces();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => Err(refuse(format!(
                "\"{wanted}\" is missing before \"{}\"",
                shorten(self.rest)
            ))),
        }
    }

    /// Returns the next word, which ends at a space or bracket.
    fn peek_word(&mut self) -> &'a str {
        self.skip_spaces();
        let is_end = |c: char| c.is_whitespace() || "()[]\"".contains(c);
        let end = self.rest.find(is_end).unwrap_or(self.rest.len());
        &self.rest[..end]
    }

    fn take_word(&mut self) -> &'a str {
        let word = self.peek_word();
        self.rest = &self.rest[word.len()..];
        word
    }

    /// Takes a word that joins conditions, if it is next.
    fn takes_joint(&mut self, joint: &str) -> bool {
        let is_next = self.peek_word().eq_ignore_ascii_case(joint);
        if is_next {
            self.take_word();
        }
        is_next
    }

    fn read_any(&mut self, subject: Subject) -> Result<Condition, ScimError> {
        let mut any = vec![self.read_all(subject)?];
        while self.takes_joint("or") {
            any.push(self.read_all(subject)?);
        }
        Ok(match (any.pop(), any.is_empty()) {
            (Some(only), true) => only,
            (last, _) => {
                any.extend(last);
                Condition::Any(any)
            }
        })
    }

    fn read_all(&mut self, subject: Subject) -> Result<Condition, ScimError> {
        let mut all = vec![self.read_one(subject)?];
        while self.takes_joint("and") {
            all.push(self.read_one(subject)?);
        }
        Ok(match (all.pop(), all.is_empty()) {
            (Some(only), true) => only,
            (last, _) => {
                all.extend(last);
                Condition::All(all)
            }
        })
    }

    /// Reads what stands in parentheses or brackets.
    fn read_inner(&mut self, subject: Subject, end: char) -> Result<Condition, ScimError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(refuse(format!(
                "the filter is deeper than {DEEPEST} brackets"
            )));
        }
        let condition = self.read_any(subject)?;
        self.expect(end)?;
        self.depth -= 1;
        Ok(condition)
    }

    fn read_one(&mut self, subject: Subject) -> Result<Condition, ScimError> {
        self.skip_spaces();
        if let Some(rest) = self.rest.strip_prefix('(') {
            self.rest = rest;
            return self.read_inner(subject, ')');
        }
        let word = self.take_word();
        if word.is_empty() {
            let found = shorten(self.rest);
            return Err(refuse(match found.is_empty() {
                true => "the filter ends where an attribute is expected".to_owned(),
                false => format!("\"{found}\" stands where an attribute is expected"),
            }));
        }
        if word.eq_ignore_ascii_case("not") {
            self.expect('(')?;
            let inner = self.read_inner(subject, ')')?;
            return Ok(Condition::Not(Box::new(inner)));
        }
        self.comparisons += 1;
        if self.comparisons > MOST_COMPARISONS {
            return Err(refuse(format!(
                "the filter has more than {MOST_COMPARISONS} comparisons"
            )));
        }
        let field = find_field(subject, word)?;
        if let Some(rest) = self.rest.strip_prefix('[') {
            self.rest = rest;
            let Field::Resource(path) = field else {
                return Err(refuse(format!("{word} has no values of its own")));
            };
            if path.part.is_some() || path.attribute.parts().is_empty() {
                return Err(refuse(format!("{word} has no parts to choose values by")));
            }
            let inner = self.read_inner(Subject::Values(path.attribute), ']')?;
            return Ok(Condition::Value(path, Box::new(inner)));
        }
        self.read_comparison(field)
    }

    fn read_comparison(&mut self, field: Field) -> Result<Condition, ScimError> {
        let word = self.take_word();
        if word.eq_ignore_ascii_case("pr") {
            return Ok(Condition::Present(field));
        }
        let Some(operator) = CompareOperator::parse(word) else {
            return Err(refuse(format!(
                "\"{}\" is no operator: there are eq, ne, co, sw, ew, gt, ge, lt, le and pr",
                shorten(word)
            )));
        };
        let value = self.read_literal()?;
        let operand = Operand::read(field.leaf(), operator, value)?;
        Ok(Condition::Compare(field, operator, operand))
    }

    fn read_literal(&mut self) -> Result<Value, ScimError> {
        self.skip_spaces();
        let wrong = |text: &str| {
            let text = shorten(text);
            refuse(format!(
                "\"{text}\" is no value: write a text in quotation marks, true, false, null or a number"
            ))
        };
        if self.rest.starts_with('"') {
            let mut values = Deserializer::from_str(self.rest).into_iter::<String>();
            let Some(Ok(text)) = values.next() else {
                return Err(wrong(self.rest));
            };
            self.rest = &self.rest[values.byte_offset()..];
            return Ok(Value::String(text));
        }
        let word = self.take_word();
        match serde_json::from_str(&word.to_ascii_lowercase()) {
            Ok(value @ (Value::Null | Value::Bool(_) | Value::Number(_))) => Ok(value),
            _ => Err(wrong(word)),
        }
    }
}

fn find_field(subject: Subject, word: &str) -> Result<Field, ScimError> {
    match subject {
        Subject::Resource(of) => FieldPath::parse(of, word)
            .map(Field::Resource)
            .map_err(|error| ScimError::new(ScimErrorKind::InvalidFilter, error.detail)),
        Subject::Values(list) => list
            .find_part(word)
            .map(Field::Part)
            .ok_or_else(|| refuse(format!("values of {} have no {}", list.name, shorten(word)))),
    }
}
