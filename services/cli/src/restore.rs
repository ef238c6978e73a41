//! `bowline restore`, and `bowline migrate-deployment`, which restores a backup that it takes.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
};

use bowline_clock::{Clock as _, SystemClock};
use bowline_db::{BackupError, BackupReader, RestoreTarget, UndoneEntry};
use bowline_standalone::{OwnerDatabase, RESTORE_MARKER, lock_state_dir, owner_databases};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::{
    backup::write_file,
    connection::ConnectionArgs,
    database_urls::{DatabaseArgs, OwnerUrls, list_state_urls},
    failure::{Failure, FailureKind},
    output::{Printer, Row},
};

/// What to restore, and where to.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup.
    file: PathBuf,
    #[command(flatten)]
    databases: DatabaseArgs,
    /// Where the files of a state directory go when its backup is restored into databases of separate processes: control keys,
    /// sealing key, certificates. Not needed when the services have them.
    #[arg(long, value_name = "DIRECTORY")]
    files: Option<PathBuf>,
    /// Replace what is there. What a state directory has is moved aside in it, what a PostgreSQL database has is deleted.
    #[arg(long)]
    replace: bool,
}

/// Where to bring a server of one process.
#[derive(Debug, Args)]
pub struct MoveArgs {
    #[command(flatten)]
    databases: DatabaseArgs,
    /// The directory to make for control keys, sealing key and other files, for the services' settings to name.
    #[arg(long, value_name = "DIRECTORY")]
    files: PathBuf,
}

/// Something that took access away, and that a restore undoes.
#[derive(Debug, Serialize)]
struct UndoneRow {
    time: String,
    tailnet: i64,
    actor: String,
    action: String,
    object: String,
}

impl Row for UndoneRow {
    const HEADS: &'static [&'static str] = &["TIME", "TAILNET", "ACTOR", "ACTION", "OBJECT"];

    fn table_cells(&self) -> Vec<String> {
        let Self {
            time,
            tailnet,
            actor,
            action,
            object,
        } = self;
        let texts = [time, &tailnet.to_string(), actor, action, object];
        texts.map(Clone::clone).to_vec()
    }
}

impl From<UndoneEntry> for UndoneRow {
    fn from(entry: UndoneEntry) -> Self {
        Self {
            time: entry.time.to_rfc3339_opts(SecondsFormat::Secs, true),
            tailnet: entry.tailnet,
            actor: entry.actor,
            action: entry.action,
            object: entry.object,
        }
    }
}

/// Restores a backup.
pub async fn run(
    args: &RestoreArgs,
    connection: &ConnectionArgs,
    printer: Printer,
) -> Result<(), Failure> {
    let open = || {
        File::open(&args.file).map_err(|error| {
            let text = format!("{} can not be read: {error}", args.file.display());
            Failure::new(FailureKind::NotFound, text)
        })
    };
    // Nothing is touched for a backup that is not whole.
    BackupReader::check(open()?)?;
    let backup = BackupReader::begin(open()?)?;
    let taken_at = backup.header.taken_at;
    let undone = match args.databases.is_given() {
        true => {
            let urls = args.databases.read_urls(connection)?;
            restore_databases(backup, &urls, args.files.as_deref(), args.replace, printer).await?
        }
        false => restore_state_dir(backup, &connection.state_dir, args.replace, printer).await?,
    };
    let taken_at = taken_at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let rows: Vec<UndoneRow> = undone.into_iter().map(UndoneRow::from).collect();
    let text = format!(
        "Restored to {taken_at}. What was changed later is lost; the audit log says so from the next start on. Keys, devices and \
         people that lost their access after {taken_at} have it again: take it away again before clients connect."
    );
    printer.print_result(&json!({ "taken_at": taken_at, "undone": rows }), &text);
    if args.replace && printer.is_for_people() {
        printer.print_sentence("What took access away, or may have, and is undone:");
        printer.print_rows(&rows);
    }
    Ok(())
}

/// Brings a server of one process to databases of separate processes.
pub async fn migrate(
    args: &MoveArgs,
    connection: &ConnectionArgs,
    printer: Printer,
) -> Result<(), Failure> {
    if !args.databases.is_given() {
        let text = "name the database of the separate processes with --database or --database-file";
        return Err(Failure::new(FailureKind::Failed, text));
    }
    if !connection
        .state_dir
        .join(OwnerDatabase::file_name(owner_databases()[0].service))
        .exists()
    {
        let text = format!(
            "{} is not the directory of a server: name it with --state-dir",
            connection.state_dir.display()
        );
        return Err(Failure::new(FailureKind::NotFound, text));
    }
    let _lock = lock_state_dir(&connection.state_dir)?;
    let from = list_state_urls(&connection.state_dir);
    let directory = tempfile::tempdir_in(&connection.state_dir)?;
    let file = directory.path().join("backup");
    write_file(&file, &from, Some(&connection.state_dir), printer).await?;
    let urls = args.databases.read_urls(connection)?;
    let backup = BackupReader::begin(File::open(&file)?)?;
    let (files, is_replaced) = (Some(&*args.files), false);
    restore_databases(backup, &urls, files, is_replaced, printer).await?;
    let files = args.files.display();
    let text = format!(
        "Everything is in the databases. Control keys, sealing key and settings are in {files}: let control_keys of the gateways and \
         sealing_key_file of identity name them, give the gateways the public URL of before, and start the services. Do not start \
         `bowline serve` on {} again.",
        connection.state_dir.display()
    );
    printer.print_result(&json!({ "files": args.files }), &text);
    Ok(())
}

/// Restores into databases, all schemas of one database or none, and files into a directory if there is one for them. Returns
/// what the databases that are replaced say of access that was taken away.
async fn restore_databases(
    mut backup: BackupReader,
    urls: &OwnerUrls,
    files: Option<&Path>,
    is_replaced: bool,
    printer: Printer,
) -> Result<Vec<UndoneEntry>, Failure> {
    let taken_at = backup.header.taken_at;
    let mut targets: Vec<(&str, RestoreTarget)> = Vec::new();
    let mut undone = Vec::new();
    while let Some(schema) = backup.next_database()? {
        let found = urls
            .iter()
            .find(|(owner, _)| owner.options.schema == schema);
        let (owner, url) = found.ok_or(BackupError::Newer(backup.header.release.clone()))?;
        let place = match targets.iter().position(|(open, _)| *open == &***url) {
            Some(place) => place,
            None => {
                targets.push((url, RestoreTarget::open(url).await?));
                targets.len() - 1
            }
        };
        let target = &mut targets[place].1;
        undone.extend(target.list_undone(&owner.options, taken_at).await?);
        let service = owner.service.as_str();
        let tell = |table: &str, rows: u64| {
            if rows > 0 {
                printer.print_progress(&format!("{service}: {table}, {rows} rows"));
            }
        };
        let options = &owner.options;
        target
            .restore_schema(&mut backup, options, is_replaced, &tell)
            .await?;
    }
    if let Some(directory) = files {
        restore_files(&mut backup, directory)?;
    }
    for (_, target) in targets {
        target.commit().await?;
    }
    Ok(undone)
}

/// Restores a state directory. What it has is moved aside at the end.
async fn restore_state_dir(
    backup: BackupReader,
    state_dir: &Path,
    is_replaced: bool,
    printer: Printer,
) -> Result<Vec<UndoneEntry>, Failure> {
    let _lock = lock_state_dir(state_dir)?;
    if !list_state(state_dir)?.is_empty() && !is_replaced {
        let text = format!(
            "{} is not empty: name a new directory with --state-dir, or move what is there aside with --replace",
            state_dir.display()
        );
        return Err(Failure::new(FailureKind::Refused, text));
    }
    let taken_at = backup.header.taken_at;
    let mut undone = Vec::new();
    for (owner, url) in list_state_urls(state_dir) {
        if state_dir
            .join(OwnerDatabase::file_name(owner.service))
            .exists()
        {
            match list_undone(&owner, &url, taken_at).await {
                Ok(found) => undone.extend(found),
                // It may be restored because it is damaged.
                Err(error) => printer.print_note(&format!(
                    "what {} says of access that was taken away can not be read: {error}",
                    owner.service.as_str()
                )),
            }
        }
    }
    let there = list_state(state_dir)?;
    let made = tempfile::tempdir_in(state_dir)?;
    let urls = list_state_urls(made.path());
    restore_databases(backup, &urls, Some(made.path()), false, printer).await?;
    let marker = state_dir.join(RESTORE_MARKER);
    File::create(&marker)?.sync_all()?;
    File::open(state_dir)?.sync_all()?;
    if !there.is_empty() {
        let aside = format!("replaced-{}", SystemClock.now().format("%Y%m%dT%H%M%SZ"));
        let aside = state_dir.join(aside);
        fs::DirBuilder::new().mode(0o700).create(&aside)?;
        for name in &there {
            fs::rename(state_dir.join(name), aside.join(name))?;
        }
        printer.print_progress(&format!("what was there is in {}", aside.display()));
    }
    for entry in fs::read_dir(made.path())? {
        let entry = entry?;
        fs::rename(entry.path(), state_dir.join(entry.file_name()))?;
    }
    File::open(state_dir)?.sync_all()?;
    fs::remove_file(marker)?;
    Ok(undone)
}

/// Returns what the database of a state directory says of access that was taken away after a time.
async fn list_undone(
    owner: &OwnerDatabase,
    url: &str,
    since: DateTime<Utc>,
) -> Result<Vec<UndoneEntry>, BackupError> {
    let mut target = RestoreTarget::open(url).await?;
    let found = target.list_undone(&owner.options, since).await?;
    target.abandon().await?;
    Ok(found)
}

/// Returns the names of what a server has in its state directory.
fn list_state(state_dir: &Path) -> Result<Vec<String>, Failure> {
    let is_own = |name: &str| {
        ["lock", "admin.sock", RESTORE_MARKER].contains(&name) || name.starts_with("replaced-")
    };
    let mut there = Vec::new();
    for entry in fs::read_dir(state_dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !is_own(&name) {
            there.push(name);
        }
    }
    Ok(there)
}

/// Writes the files of a backup below a directory; none that is there is written over.
fn restore_files(backup: &mut BackupReader, directory: &Path) -> Result<(), Failure> {
    while let Some((path, content)) = backup.next_file()? {
        let path = Path::new(&path);
        let is_below = path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !is_below {
            return Err(BackupError::Damaged("a file of it lies outside of its directory").into());
        }
        let place = directory.join(path);
        if let Some(parent) = place.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)?;
        }
        let options = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&place);
        let mut file = options.map_err(|error| {
            let text = format!("{} can not be made: {error}", place.display());
            Failure::new(FailureKind::Failed, text)
        })?;
        file.write_all(&content)?;
        file.sync_all()?;
    }
    Ok(())
}
