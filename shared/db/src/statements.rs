//! Statements that are put together.

/// How many rows one statement inserts: SQLite allows 32,766 values.
pub(crate) const MOST_ROWS: usize = 500;

/// Returns an `INSERT` of several rows.
pub(crate) fn insert_sql(table: &str, columns: usize, rows: usize) -> String {
    let mut sql = format!("INSERT INTO {table} VALUES ");
    for row in 0..rows {
        let places: Vec<String> = (1..=columns)
            .map(|column| format!("${}", row * columns + column))
            .collect();
        let comma = if row == 0 { "" } else { ", " };
        sql += &format!("{comma}({})", places.join(", "));
    }
    sql
}
