//! Lines and columns of a text.

use crate::problem::Problem;

/// Characters are counted in advance for each multiple of so many bytes.
const STEP: usize = 1024;

/// Finds line and column of an offset. The time does not grow with the text: a document can be one long line of
/// mistakes.
#[derive(Debug)]
pub(crate) struct TextPositions<'t> {
    text: &'t [u8],
    newlines: Vec<usize>,
    /// How many characters begin before each step.
    characters: Vec<usize>,
}

impl<'t> TextPositions<'t> {
    /// Counts through a text once.
    pub(crate) fn new(text: &'t str) -> Self {
        let text = text.as_bytes();
        let newlines = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let mut sum = 0;
        let counted = text.chunks(STEP).map(|chunk| {
            let before = sum;
            sum += count_characters(chunk);
            before
        });
        Self {
            text,
            characters: counted.collect(),
            newlines: newlines.map(|(at, _)| at).collect(),
        }
    }

    /// Returns the line of an offset, from one.
    pub(crate) fn line_at(&self, offset: usize) -> u32 {
        to_u32(self.lines_before(offset) + 1)
    }

    /// Returns a problem at an offset.
    pub(crate) fn problem_at(&self, offset: usize, message: impl Into<String>) -> Problem {
        let lines = self.lines_before(offset);
        let start = lines
            .checked_sub(1)
            .map_or(0, |last| self.newlines[last] + 1);
        Problem {
            line: to_u32(lines + 1),
            column: to_u32(self.characters_before(offset) - self.characters_before(start) + 1),
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
        // When the text ends with a whole step, no step begins at its end.
        let (from, step) = match (from, self.characters.last()) {
            (Some(from), _) => (from, step),
            (None, Some(last)) => (*last, step - 1),
            (None, None) => (0, 0),
        };
        from + count_characters(&self.text[step * STEP..offset])
    }
}

/// Counts the bytes that begin a character.
fn count_characters(bytes: &[u8]) -> usize {
    let begins = |byte: &&u8| **byte & 0xc0 != 0x80;
    bytes.iter().filter(begins).count()
}

fn to_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
