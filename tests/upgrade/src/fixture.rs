//! The files of a fixture.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::Record;

/// What an earlier version left.
#[derive(Debug)]
pub struct Fixture {
    directory: PathBuf,
}

impl Fixture {
    /// Returns all fixtures, by the name of the version that made them.
    ///
    /// # Errors
    ///
    /// When they can not be read.
    pub fn all() -> Result<Vec<Self>> {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let entries = fs::read_dir(place)?.collect::<Result<Vec<_>, _>>()?;
        let paths = entries.into_iter().map(|entry| entry.path());
        let mut fixtures: Vec<_> = paths.filter(|path| path.is_dir()).collect();
        fixtures.sort();
        if fixtures.is_empty() {
            bail!("there is no fixture");
        }
        Ok(fixtures
            .into_iter()
            .map(|directory| Self { directory })
            .collect())
    }

    /// Returns the fixture to be made in a directory.
    #[must_use]
    pub fn at(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    /// Unpacks the state directory of one process into `place`.
    ///
    /// # Errors
    ///
    /// When it can not.
    pub fn unpack_state(&self, place: &Path) -> Result<()> {
        self.unpack("state.tar.gz", place)
    }

    /// Unpacks the control keys of separate services into `place`.
    ///
    /// # Errors
    ///
    /// When it can not.
    pub fn unpack_services(&self, place: &Path) -> Result<()> {
        self.unpack("services.tar.gz", place)
    }

    /// Returns the statements that make the database of separate services.
    ///
    /// # Errors
    ///
    /// When it can not.
    pub fn database(&self) -> Result<String> {
        let file = fs::File::open(self.directory.join("database.sql.gz"))?;
        let output = Command::new("gunzip").arg("-c").stdin(file).output()?;
        if !output.status.success() {
            bail!("gunzip: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Returns what one process held.
    ///
    /// # Errors
    ///
    /// When it can not be read.
    pub fn state_record(&self) -> Result<Record> {
        self.record("state.json")
    }

    /// Returns what the separate services held.
    ///
    /// # Errors
    ///
    /// When it can not be read.
    pub fn services_record(&self) -> Result<Record> {
        self.record("services.json")
    }

    fn record(&self, name: &str) -> Result<Record> {
        let text = fs::read_to_string(self.directory.join(name))?;
        serde_json::from_str(&text).context(name.to_owned())
    }

    fn unpack(&self, name: &str, place: &Path) -> Result<()> {
        let mut tar = Command::new("tar");
        tar.arg("-xzf")
            .arg(self.directory.join(name))
            .arg("-C")
            .arg(place);
        finish(&mut tar)
    }

    /// Packs what is named of a directory; with nothing of who and when in it.
    pub(crate) fn pack(&self, name: &str, place: &Path, parts: &[&str]) -> Result<()> {
        let mut tar = Command::new("tar");
        tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"])
            .args(["--mtime=2026-01-01", "-czf"])
            .arg(self.directory.join(name))
            .arg("-C")
            .arg(place)
            .args(parts);
        finish(&mut tar)
    }

    pub(crate) fn write_database(&self, statements: &str) -> Result<()> {
        let file = fs::File::create(self.directory.join("database.sql.gz"))?;
        let mut gzip = Command::new("gzip")
            .args(["-9", "-n", "-c"])
            .stdin(Stdio::piped())
            .stdout(file)
            .spawn()?;
        let mut input = gzip.stdin.take().context("no input")?;
        input.write_all(statements.as_bytes())?;
        drop(input);
        if !gzip.wait()?.success() {
            bail!("gzip failed");
        }
        Ok(())
    }

    pub(crate) fn write_record(&self, name: &str, record: &Record) -> Result<()> {
        let text = serde_json::to_string_pretty(record)? + "\n";
        Ok(fs::write(self.directory.join(name), text)?)
    }
}

fn finish(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
