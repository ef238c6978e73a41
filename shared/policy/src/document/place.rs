//! Lines and columns of a text.

use crate::problem::Problem;

/// Characters are counted from the last multiple of so many bytes on.
const STEP: usize = 1024;

/// Finds places in a time that does not grow with the text or its lines: a document can be one long line of mistakes.
#[derive(Debug)]
pub(crate) struct Places<'t> {
    text: &'t [u8],
    newlines: Vec<usize>,
    /// How many characters begin before each step.
    characters: Vec<usize>,
}

impl<'t> Places<'t> {
    /// Reads through a text.
    pub(crate) fn new(text: &'t str) -> Self {
        let text = text.as_bytes();
        let newlines = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let mut sum = 0;
        let counted = text.chunks(STEP).map(|chunk| {
            let before = sum;
            sum += beginnings(chunk);
            before
        });
        Self {
            text,
            characters: counted.collect(),
            newlines: newlines.map(|(at, _)| at).collect(),
        }
    }

    /// Returns the line of an offset, from one.
    pub(crate) fn line(&self, offset: usize) -> u32 {
        number(self.lines_before(offset) + 1)
    }

    /// Returns a problem at an offset.
    pub(crate) fn problem(&self, offset: usize, message: impl Into<String>) -> Problem {
        let lines = self.lines_before(offset);
        let start = lines
            .checked_sub(1)
            .map_or(0, |last| self.newlines[last] + 1);
        Problem {
            line: number(lines + 1),
            column: number(self.characters_before(offset) - self.characters_before(start) + 1),
            message: message.into(),
            hint: String::new(),
        }
    }

    fn lines_before(&self, offset: usize) -> usize {
        self.newlines.partition_point(|newline| *newline < offset)
    }

    fn characters_before(&self, offset: usize) -> usize {
        let offset = offset.min(self.text.len());
        let step = offset / STEP;
        let from = self.characters.get(step).copied();
        // The end of a text of whole steps has no step of its own.
        let (from, step) = match (from, self.characters.last()) {
            (Some(from), _) => (from, step),
            (None, Some(last)) => (*last, step - 1),
            (None, None) => (0, 0),
        };
        from + beginnings(&self.text[step * STEP..offset])
    }
}

/// Counts the bytes that begin a character.
fn beginnings(bytes: &[u8]) -> usize {
    let begins = |byte: &&u8| **byte & 0xc0 != 0x80;
    bytes.iter().filter(begins).count()
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_across_steps() {
        for length in [0, 1, STEP - 2, STEP - 1, STEP, 3 * STEP] {
            let text = format!("{{\n{}x", "\u{e9}".repeat(length));
            let places = Places::new(&text);
            for (offset, column) in [(text.len() - 1, length + 1), (text.len(), length + 2)] {
                let problem = places.problem(offset, "here");
                assert_eq!((problem.line, problem.column), (2, number(column)));
            }
        }
        let first = Places::new("").problem(0, "here");
        assert_eq!((first.line, first.column), (1, 1));
    }
}
