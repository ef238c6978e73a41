//! Statements that are put together.

/// How many rows one statement inserts: SQLite allows 32,766 values.
pub(crate) const MOST_ROWS: usize = 500;

/// Splits rows among statements that insert a power of two of them each: connections keep prepared statements, and one for each
/// number of rows would be too many to keep.
///
/// Example: 13 rows are 8, 4 and 1.
pub(crate) fn split_rows<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let most = rows.len().min(MOST_ROWS);
        let (first, rest) = rows.split_at(1 << most.checked_ilog2()?);
        rows = rest;
        Some(first)
    })
}

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

#[cfg(test)]
mod tests;
