//! The file of a backup: lines of JSON, compressed, with a checksum at the end.

use std::io::{BufRead as _, BufReader, Read, Write};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{BackupError, BackupSource, tables::Column};

/// The form of the file; another number is a form that this program does not know.
const FORM: u32 = 1;
/// How well it is compressed: zstd's own default.
const COMPRESSION: i32 = 3;
/// The longest line: a row with the longest document, its bytes as text.
const LONGEST_LINE: u64 = 64 << 20;

/// What a backup is of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackupHeader {
    /// The form of the file.
    form: u32,
    /// The release that made it.
    pub release: String,
    /// When it was made.
    pub taken_at: DateTime<Utc>,
}

impl BackupHeader {
    /// Describes a backup that this release makes now.
    #[must_use]
    pub fn new(taken_at: DateTime<Utc>) -> Self {
        Self {
            form: FORM,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            taken_at,
        }
    }
}

/// A line that is not a row.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mark {
    /// The first.
    Backup(BackupHeader),
    /// What follows is of this database.
    Database { name: String },
    /// What follows are rows of this table.
    Table { name: String, columns: Vec<Column> },
    /// A file beside the databases; its content in base64.
    File { path: String, content: String },
    /// The last: how many lines are before it, and what they add up to.
    End { lines: u64, sha256: String },
}

/// A line of a backup.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    /// A row: a value for each column of the table.
    Row(Vec<Value>),
    /// Anything else.
    Mark(Mark),
}

/// Writes a backup.
pub struct BackupWriter<W: Write> {
    out: zstd::Encoder<'static, W>,
    hasher: Sha256,
    lines: u64,
}

impl<W: Write> BackupWriter<W> {
    /// Begins a backup.
    ///
    /// # Errors
    ///
    /// When it can not be written.
    pub fn begin(out: W, header: BackupHeader) -> Result<Self, BackupError> {
        let mut writer = Self {
            out: zstd::Encoder::new(out, COMPRESSION)?,
            hasher: Sha256::new(),
            lines: 0,
        };
        writer.write_mark(Mark::Backup(header))?;
        Ok(writer)
    }

    /// Adds all tables of a schema under a name. Tells the table, and how many rows it had, after each.
    ///
    /// # Errors
    ///
    /// When the database does not answer, or the backup can not be written.
    pub async fn add_schema(
        &mut self,
        source: &mut BackupSource,
        schema: &'static str,
        tell: &(dyn Fn(&str, u64) + Sync),
    ) -> Result<(), BackupError> {
        let name = schema.to_owned();
        self.write_mark(Mark::Database { name })?;
        source.write_tables(schema, self, tell).await
    }

    /// Adds a file with its path.
    ///
    /// # Errors
    ///
    /// When the backup can not be written.
    pub fn add_file(&mut self, path: &str, content: &[u8]) -> Result<(), BackupError> {
        self.write_mark(Mark::File {
            path: path.to_owned(),
            content: super::tables::to_base64(content),
        })
    }

    /// Ends the backup: without it the file is not whole.
    ///
    /// # Errors
    ///
    /// When it can not be written.
    pub fn finish(mut self) -> Result<W, BackupError> {
        let end = Mark::End {
            lines: self.lines,
            sha256: to_hex(&self.hasher.clone().finalize()),
        };
        self.write_mark(end)?;
        Ok(self.out.finish()?)
    }

    pub(super) fn write_mark(&mut self, mark: Mark) -> Result<(), BackupError> {
        self.write_line(&Line::Mark(mark))
    }

    pub(super) fn write_line(&mut self, line: &Line) -> Result<(), BackupError> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        if text.len() as u64 > LONGEST_LINE {
            return Err(BackupError::TooLong(text.len()));
        }
        self.hasher.update(&text);
        self.lines += 1;
        self.out.write_all(&text)?;
        Ok(())
    }
}

/// Reads a backup.
pub struct BackupReader {
    lines: BufReader<Box<dyn Read + Send>>,
    /// What the file says of itself.
    pub header: BackupHeader,
    /// A line that was looked at and not taken.
    next: Option<Line>,
}

impl BackupReader {
    /// Begins to read a file.
    ///
    /// # Errors
    ///
    /// When it can not be read, or is no backup.
    pub fn begin(file: impl Read + Send + 'static) -> Result<Self, BackupError> {
        let decoder = zstd::Decoder::new(file)
            .map_err(|_| BackupError::Damaged("it is not compressed as backups are"))?;
        let mut lines: BufReader<Box<dyn Read + Send>> = BufReader::new(Box::new(decoder));
        let first = read_line(&mut lines)?.ok_or(BackupError::Damaged("it is empty"))?;
        let Ok(Line::Mark(Mark::Backup(header))) = serde_json::from_slice(&first) else {
            return Err(BackupError::Damaged("it does not begin like one"));
        };
        if header.form > FORM {
            return Err(BackupError::Newer(header.release));
        }
        Ok(Self {
            lines,
            header,
            next: None,
        })
    }

    /// Reads a file to its end, and says whether it is whole.
    ///
    /// # Errors
    ///
    /// [`BackupError::Damaged`] when it is not.
    pub fn check(file: impl Read) -> Result<(), BackupError> {
        let cut = BackupError::Damaged("it was cut off");
        let decoder = zstd::Decoder::new(file)
            .map_err(|_| BackupError::Damaged("it is not compressed as backups are"))?;
        let mut lines = BufReader::new(decoder);
        let (mut hasher, mut count) = (Sha256::new(), 0);
        while let Some(line) = read_line(&mut lines)? {
            let is_end = line.starts_with(br#"{"end":"#);
            if let (true, Ok(Line::Mark(Mark::End { lines, sha256 }))) =
                (is_end, serde_json::from_slice(&line))
            {
                let is_right = lines == count && sha256 == to_hex(&hasher.finalize());
                return match is_right {
                    true => Ok(()),
                    false => Err(BackupError::Damaged("its checksum is wrong")),
                };
            }
            hasher.update(&line);
            count += 1;
        }
        Err(cut)
    }

    /// Goes on to the next database, and returns its name; `None` when the files follow.
    ///
    /// # Errors
    ///
    /// When the backup can not be read.
    pub fn next_database(&mut self) -> Result<Option<String>, BackupError> {
        loop {
            match self.next_line()? {
                Line::Mark(Mark::Database { name }) => return Ok(Some(name)),
                line @ Line::Mark(Mark::File { .. } | Mark::End { .. }) => {
                    self.next = Some(line);
                    return Ok(None);
                }
                _ => {}
            }
        }
    }

    /// Returns the next file, with its path.
    ///
    /// # Errors
    ///
    /// When the backup can not be read.
    pub fn next_file(&mut self) -> Result<Option<(String, Vec<u8>)>, BackupError> {
        match self.next_line()? {
            Line::Mark(Mark::File { path, content }) => {
                let content = super::tables::from_base64(&content)?;
                Ok(Some((path, content)))
            }
            _ => Ok(None),
        }
    }

    pub(super) fn next_line(&mut self) -> Result<Line, BackupError> {
        if let Some(line) = self.next.take() {
            return Ok(line);
        }
        let line = read_line(&mut self.lines)?.ok_or(BackupError::Damaged("it was cut off"))?;
        Ok(serde_json::from_slice(&line)?)
    }

    /// Gives a line back: it is read next.
    pub(super) fn put_back(&mut self, line: Line) {
        self.next = Some(line);
    }
}

/// Reads a line with its end; `None` at the end of the file.
fn read_line(lines: &mut impl std::io::BufRead) -> Result<Option<Vec<u8>>, BackupError> {
    let mut line = Vec::new();
    lines.take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => Err(BackupError::Damaged("it was cut off")),
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
