//! The one place that prints: tables for people, JSON for machines.

use std::{
    fmt,
    io::{self, ErrorKind, IsTerminal as _, Write as _},
};

use bowline_keys::KeyError;
use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde::Serialize;

use crate::failure::{Failure, FailureKind};

/// How answers look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For machines: stable names, times in RFC 3339.
    Json,
}

/// Prints answers.
#[derive(Clone, Copy, Debug)]
pub struct Printer(Format);

/// Something with a line in a table.
pub trait Row: Serialize {
    /// The heads of the columns.
    const HEADS: &'static [&'static str];
    /// The heads of columns that a list has only when a row has something there.
    const RARE: &'static [&'static str] = &[];

    /// Returns the cells, one for each head.
    fn table_cells(&self) -> Vec<String>;
}

impl Printer {
    /// Returns a printer.
    pub fn new(format: Format) -> Self {
        Self(format)
    }

    /// Prints a list.
    pub fn print_rows<R: Row>(self, rows: &[R]) {
        match self.0 {
            Format::Json => self.print_json(&rows),
            Format::Table if rows.is_empty() => self.print_sentence("nothing"),
            Format::Table => self.write_stdout(&format_table(rows)),
        }
    }

    /// Prints one thing, with the heads as names.
    pub fn print_row<R: Row>(self, row: &R) {
        match self.0 {
            Format::Json => self.print_json(row),
            Format::Table => {
                let width = R::HEADS.iter().map(|head| head.len()).max().unwrap_or(0);
                for (head, cell) in R::HEADS.iter().zip(row.table_cells()) {
                    self.write_stdout(&format!("{head:width$}  {cell}"));
                }
            }
        }
    }

    /// Prints a value for machines, or a sentence for people.
    pub fn print_result(self, value: &impl Serialize, sentence: &str) {
        match self.0 {
            Format::Json => self.print_json(value),
            Format::Table => self.write_stdout(sentence),
        }
    }

    /// Prints a value for machines, or a document byte for byte; on a screen its last line is ended.
    #[expect(clippy::print_stdout, reason = "the one place that prints")]
    pub fn print_document(self, value: &impl Serialize, text: &str) {
        match self.0 {
            Format::Json => self.print_json(value),
            Format::Table if io::stdout().is_terminal() => self.write_stdout(text.trim_end()),
            Format::Table => print!("{text}"),
        }
    }

    /// Prints a sentence for people.
    pub fn print_sentence(self, sentence: &str) {
        if self.0 == Format::Table {
            self.write_stdout(sentence);
        }
    }

    /// Prints a warning for people on standard error; machines find it in the answer.
    #[expect(clippy::print_stderr, reason = "the one place that prints")]
    pub fn print_warning(self, line: &str) {
        if self.0 == Format::Table {
            eprintln!("warning: {line}");
        }
    }

    /// Says whether answers are for people.
    pub fn is_for_people(self) -> bool {
        self.0 == Format::Table
    }

    /// Tells people on standard error how far something long has come.
    #[expect(clippy::print_stderr, reason = "the one place that prints")]
    pub fn print_progress(self, line: &str) {
        if self.0 == Format::Table {
            eprintln!("{line}");
        }
    }

    /// Prints a warning on standard error, whatever answers look like: this one has no place for it.
    #[expect(
        clippy::unused_self,
        clippy::print_stderr,
        reason = "the one place that prints"
    )]
    pub fn warn_always(self, text: &str) {
        eprintln!("bowline: warning: {text}");
    }

    /// Prints a text as it is. Whoever reads no further, such as `head`, has what it wants.
    pub fn write_stdout(self, text: &str) {
        if let Err(error) = self.write_line(text) {
            error.report_failure();
            #[expect(clippy::disallowed_methods, reason = "there is nobody left to tell")]
            std::process::exit(FailureKind::Failed as i32);
        }
    }

    /// Prints a line; says whether somebody still reads.
    #[expect(clippy::unused_self, reason = "the one place that prints")]
    pub fn write_line(self, text: &str) -> Result<bool, Failure> {
        match writeln!(std::io::stdout(), "{text}") {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Failure::from(error)),
        }
    }

    /// Shows on standard error what a question is about: standard output is for the answer.
    #[expect(
        clippy::unused_self,
        clippy::print_stderr,
        reason = "the one place that prints"
    )]
    pub fn show_first<R: Row>(self, row: &R) {
        let width = R::HEADS.iter().map(|head| head.len()).max().unwrap_or(0);
        for (head, cell) in R::HEADS.iter().zip(row.table_cells()) {
            eprintln!("{head:width$}  {cell}");
        }
    }

    /// Says on standard error what somebody should know of the answer.
    #[expect(
        clippy::unused_self,
        clippy::print_stderr,
        reason = "the one place that prints"
    )]
    pub fn print_note(self, note: &str) {
        eprintln!("note: {note}");
    }

    /// Says on standard error what a person has to do now.
    #[expect(
        clippy::unused_self,
        clippy::print_stderr,
        reason = "the one place that prints"
    )]
    pub fn instruct(self, text: &str) {
        eprintln!("{text}");
    }

    /// Asks whether to go on; without a person at a terminal there is nobody to ask, and the answer is yes.
    #[expect(
        clippy::unused_self,
        clippy::print_stderr,
        reason = "the one place that prints"
    )]
    pub fn ask_confirmation(self, question: &str) -> io::Result<bool> {
        if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
            return Ok(true);
        }
        eprint!("{question} [y/N] ");
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(["y", "yes"].contains(&&*answer.trim().to_lowercase()))
    }

    /// Prints a value as JSON, in whichever form answers are.
    pub fn print_json(self, value: &impl Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.write_stdout(&text),
            Err(error) => self.write_stdout(&format!("{{\"error\": \"{error}\"}}")),
        }
    }
}

/// Returns a list as a table.
pub fn format_table<R: Row>(rows: &[R]) -> String {
    let cells: Vec<_> = rows.iter().map(R::table_cells).collect();
    let is_shown = |column: usize, head: &str| {
        let has_some = |row: &Vec<String>| row.get(column).is_some_and(|cell| !cell.is_empty());
        !R::RARE.contains(&head) || cells.iter().any(has_some)
    };
    let columns = R::HEADS.iter().enumerate();
    let shown: Vec<_> = columns
        .map(|(column, head)| is_shown(column, head))
        .collect();
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    let heads = R::HEADS.iter().zip(&shown).filter(|(_, shown)| **shown);
    table.set_header(heads.map(|(head, _)| head.to_uppercase()));
    for row in &cells {
        let cells = row.iter().zip(&shown).filter(|(_, shown)| **shown);
        table.add_row(cells.map(|(cell, _)| cell));
    }
    table.trim_fmt()
}

/// Returns a list as a cell.
pub fn join_texts(texts: &[String]) -> String {
    texts.join(",")
}

/// Returns a key as text; where the server's bytes are no key that is said, in place of a key of zeros.
pub fn key_text(key: Result<impl fmt::Display, KeyError>) -> String {
    key.map_or_else(|_| "unreadable".to_owned(), |key| key.to_string())
}

/// Returns yes or nothing.
pub fn yes_mark(is: bool) -> String {
    if is { "yes".to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests;
