//! `bowline backup`.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, IsTerminal as _, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use bowline_clock::{Clock as _, SystemClock};
use bowline_db::{BackupHeader, BackupReader, BackupSource, BackupWriter};
use chrono::SecondsFormat;
use clap::Args;
use serde_json::json;

use crate::{
    connection::ConnectionArgs,
    database_urls::{DatabaseArgs, OwnerUrls},
    failure::{Failure, FailureKind},
    output::Printer,
};

/// What a backup begins with: it is compressed by zstd.
const BACKUP_BEGIN: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What to back up, and where to.
#[derive(Debug, Args)]
pub struct BackupArgs {
    /// The file to make, or `-` for standard output.
    file: PathBuf,
    #[command(flatten)]
    databases: DatabaseArgs,
}

/// Takes a backup.
pub async fn run(
    args: &BackupArgs,
    connection: &ConnectionArgs,
    printer: Printer,
) -> Result<(), Failure> {
    let urls = args.databases.read_urls(connection)?;
    let state_dir = (!args.databases.is_given()).then_some(&*connection.state_dir);
    if args.file == Path::new("-") {
        if io::stdout().is_terminal() {
            let text =
                "a backup is not text: name a file, or send it on with `bowline backup - > FILE`";
            return Err(Failure::new(FailureKind::Failed, text));
        }
        return write_backup(io::stdout(), &urls, state_dir, printer)
            .await
            .map(drop);
    }
    let counts = write_file(&args.file, &urls, state_dir, printer).await?;
    let place = args.file.display();
    let bytes = fs::metadata(&args.file)?.len();
    let text = match state_dir {
        Some(_) => format!(
            "The backup is in {place} ({bytes} bytes), with all keys of the server: keep it where nobody else reads it."
        ),
        None => format!(
            "The backup of the databases is in {place} ({bytes} bytes): keep it where nobody else reads it. Control keys, sealing \
             key and certificates are files of the services and not in it: keep copies of them, too."
        ),
    };
    printer.print_result(
        &json!({ "file": args.file, "bytes": bytes, "rows": counts }),
        &text,
    );
    Ok(())
}

/// Writes a backup to a new file, which is there once it is whole.
pub async fn write_file(
    file: &Path,
    urls: &OwnerUrls,
    state_dir: Option<&Path>,
    printer: Printer,
) -> Result<BTreeMap<String, u64>, Failure> {
    if file.exists() {
        let text = format!("{} is there already: name another file", file.display());
        return Err(Failure::new(FailureKind::Refused, text));
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let part = file.with_file_name(format!(".{name}.part"));
    let options = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part);
    let out = options.map_err(|error| {
        let text = format!(
            "{} can not be made: {error}. Is another backup under way, or was one cut off?",
            part.display()
        );
        Failure::new(FailureKind::Failed, text)
    })?;
    let written = async {
        let (out, counts): (File, _) = write_backup(out, urls, state_dir, printer).await?;
        out.sync_all()?;
        BackupReader::check(File::open(&part)?)?;
        fs::rename(&part, file)?;
        Ok(counts)
    };
    let result = written.await;
    if result.is_err() {
        // What is not whole is of no use.
        drop(fs::remove_file(&part));
    }
    result
}

/// Writes a backup, and returns how many rows each database has.
async fn write_backup<W: Write>(
    out: W,
    urls: &OwnerUrls,
    state_dir: Option<&Path>,
    printer: Printer,
) -> Result<(W, BTreeMap<String, u64>), Failure> {
    // All are opened before the first is read, so that they are of moments close to each other.
    let mut sources: Vec<(&str, BackupSource)> = Vec::new();
    for (owner, url) in urls {
        let is_open = sources.iter().any(|(open, _)| *open == &***url);
        if !is_open {
            let source = BackupSource::open(url).await.map_err(|error| {
                let text = format!(
                    "the database of {} can not be read: {error}. Is --state-dir that of a server, or --database the services'?",
                    owner.service.as_str()
                );
                Failure::new(FailureKind::Failed, text)
            })?;
            sources.push((url, source));
        }
    }
    let taken_at = SystemClock.now();
    let mut writer = BackupWriter::begin(out, BackupHeader::new(taken_at))?;
    let mut counts = BTreeMap::new();
    for (owner, url) in urls {
        let Some((_, source)) = sources.iter_mut().find(|(open, _)| *open == &***url) else {
            continue;
        };
        let service = owner.service.as_str();
        let total = std::sync::atomic::AtomicU64::new(0);
        let tell = |table: &str, rows: u64| {
            total.fetch_add(rows, std::sync::atomic::Ordering::Relaxed);
            if rows > 0 {
                printer.print_progress(&format!("{service}: {table}, {rows} rows"));
            }
        };
        writer
            .add_schema(source, owner.options.schema, &tell)
            .await?;
        counts.insert(service.to_owned(), total.into_inner());
    }
    if let Some(state_dir) = state_dir {
        for path in list_files(state_dir, Path::new(""))? {
            match fs::read(state_dir.join(&path)) {
                Ok(content) if content.starts_with(&BACKUP_BEGIN) => {
                    printer.print_note(&format!("{} is a backup and left out", path.display()));
                }
                Ok(content) => writer.add_file(&path.to_string_lossy(), &content)?,
                // The server that runs has taken it away.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    printer.print_progress(&format!(
        "as of {}",
        taken_at.to_rfc3339_opts(SecondsFormat::Secs, true)
    ));
    Ok((writer.finish()?, counts))
}

/// Returns the files of a state directory but for its databases and what belongs to a running process.
fn list_files(state_dir: &Path, below: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for entry in fs::read_dir(state_dir.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        // Where a link leads: keys may be kept elsewhere.
        let Ok(kind) = fs::metadata(entry.path()).map(|found| found.file_type()) else {
            continue;
        };
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            // Made by a command that is under way.
            continue;
        }
        if kind.is_dir() && !name.starts_with("replaced-") {
            found.extend(list_files(state_dir, &path)?);
        } else if kind.is_file() && name != "lock" && !is_of_database(&name) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Says whether a file is a database, or belongs to one.
pub fn is_of_database(name: &str) -> bool {
    [".db", ".db-wal", ".db-shm", ".db-journal"]
        .iter()
        .any(|end| name.ends_with(end))
}
