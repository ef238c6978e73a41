//! What is sealed in rows that come and go, whatever it is.

use bowline_db::DatabaseError;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

/// A column of sealed secrets.
#[derive(Clone, Copy, Debug)]
pub struct SealedColumn {
    /// Its table.
    pub table: &'static str,
    /// Its name.
    pub name: &'static str,
    /// The column with the number that a row's key begins with; empty where it has none.
    pub number: &'static str,
    /// The column with the text that is the rest of the key.
    pub id: &'static str,
}

/// A sealed secret, and whose it is.
#[derive(Clone, Debug)]
pub struct SealedCell {
    /// The number in the row's key; zero where it has none.
    pub number: i64,
    /// The text in the row's key.
    pub id: String,
    /// The secret, sealed.
    pub sealed: Vec<u8>,
}

/// Returns secrets that begin with something else than `mark`, in the order of their rows, without the first `left_out`.
pub async fn list_cells_without_mark(
    on: &mut AnyConnection,
    column: SealedColumn,
    mark: &[u8],
    left_out: i64,
    most: i64,
) -> Result<Vec<SealedCell>, DatabaseError> {
    let SealedColumn {
        table, name, id, ..
    } = column;
    let number = match column.number {
        "" => "CAST(0 AS BIGINT)",
        number => number,
    };
    let query = format!(
        "SELECT {number} AS number, {id} AS id, {name} AS sealed FROM {table}
         WHERE {name} IS NOT NULL AND substr({name}, 1, {}) <> $1 ORDER BY 1, 2 LIMIT $2 OFFSET $3",
        mark.len()
    );
    let query = sqlx::query(AssertSqlSafe(query)).bind(mark.to_vec());
    let rows = query.bind(most).bind(left_out).fetch_all(on).await?;
    rows.iter()
        .map(|row| {
            Ok(SealedCell {
                number: row.try_get("number")?,
                id: row.try_get("id")?,
                sealed: row.try_get("sealed")?,
            })
        })
        .collect()
}

/// Puts a secret that was sealed again in place of the same one; says whether it was still there.
pub async fn replace_cell(
    on: &mut AnyConnection,
    column: SealedColumn,
    before: &SealedCell,
    sealed: Vec<u8>,
) -> Result<bool, DatabaseError> {
    let SealedColumn {
        table, name, id, ..
    } = column;
    let numbered = match column.number {
        "" => String::new(),
        number => format!("{number} = {} AND ", before.number),
    };
    let query = format!("UPDATE {table} SET {name} = $3 WHERE {numbered}{id} = $1 AND {name} = $2");
    let query = sqlx::query(AssertSqlSafe(query)).bind(before.id.clone());
    let replaced = query.bind(before.sealed.clone()).bind(sealed);
    Ok(replaced.execute(on).await?.rows_affected() == 1)
}
