//! `bowline migrate`.

use bowline_db::{Database, DatabaseOpenError};
use bowline_service_kit::error_text;
use clap::Args;
use serde::Serialize;

use crate::{
    connection::ConnectionArgs,
    database_urls::DatabaseArgs,
    failure::{Failure, FailureKind},
    output::{Printer, Row},
};

/// Which databases.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    #[command(flatten)]
    databases: DatabaseArgs,
}

/// A database that is up to date.
#[derive(Debug, Serialize)]
struct MigratedRow {
    service: String,
    schema: String,
    level: u32,
}

impl Row for MigratedRow {
    const HEADS: &'static [&'static str] = &["SERVICE", "SCHEMA", "LEVEL IN USE"];

    fn table_cells(&self) -> Vec<String> {
        vec![
            self.service.clone(),
            self.schema.clone(),
            self.level.to_string(),
        ]
    }
}

/// Brings the databases up to date, and says which schema level is in use.
pub async fn run(
    args: &MigrateArgs,
    connection: &ConnectionArgs,
    printer: Printer,
) -> Result<(), Failure> {
    if !args.databases.is_given() {
        let text = "name the database of the services with --database or --database-file: `bowline serve` brings its own up to date at its start";
        return Err(Failure::new(FailureKind::Failed, text));
    }
    let mut rows = Vec::new();
    for (owner, url) in args.databases.read_urls(connection)? {
        let schema = owner.options.schema.to_owned();
        let opened = Database::open(&url, owner.options).await;
        let database = opened.map_err(|error| {
            let kind = match error {
                DatabaseOpenError::Newer { .. } => FailureKind::Refused,
                DatabaseOpenError::Database(_) => FailureKind::Unavailable,
                _ => FailureKind::Failed,
            };
            let service = owner.service.as_str();
            Failure::new(kind, format!("{service}: {}", error_text(&error)))
        })?;
        rows.push(MigratedRow {
            service: owner.service.as_str().to_owned(),
            schema,
            level: database.schema_level(),
        });
    }
    printer.print_rows(&rows);
    Ok(())
}
