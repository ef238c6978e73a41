//! Writing statements that go to the database together.

use sqlx::{AnyConnection, AssertSqlSafe, Encode, Type, any::AnyArguments};

use crate::{DatabaseError, SqlDialect};

/// Writing statements that go to the database in one round trip.
///
/// PostgreSQL runs them as parts of one statement: none sees what the others do, and it does not say which is first. So no two of
/// a group write the same row.
///
/// ```text
/// group.add("UPDATE a SET x = $1").bind(1_i64);
/// group.add("INSERT INTO b VALUES ($1, $2)").bind(2_i64).bind(3_i64);
/// SQLite:     UPDATE a SET x = $1; INSERT INTO b VALUES ($2, $3)
/// PostgreSQL: WITH part_0 AS (UPDATE a SET x = $1) INSERT INTO b VALUES ($2, $3)
/// ```
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "the values may be secrets")]
pub struct StatementGroup {
    texts: Vec<String>,
    arguments: AnyArguments,
    failure: Option<sqlx::Error>,
}

impl StatementGroup {
    /// Adds a statement, whose values are numbered from `$1`; bind them next.
    pub fn add(&mut self, sql: &str) -> &mut Self {
        let bound = sqlx::Arguments::len(&self.arguments);
        self.texts.push(shift_places(sql, bound));
        self
    }

    /// Binds the next value of the statement that was added last.
    pub fn bind<'v, T>(&mut self, value: T) -> &mut Self
    where
        T: Encode<'v, sqlx::Any> + Type<sqlx::Any>,
    {
        if let Err(error) = sqlx::Arguments::add(&mut self.arguments, value) {
            self.failure = Some(sqlx::Error::Encode(error));
        }
        self
    }

    /// Runs the statements. Unless all succeed, the caller's savepoint or transaction is rolled back.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when one of them fails.
    pub async fn execute(self, on: &mut AnyConnection) -> Result<(), DatabaseError> {
        if let Some(failure) = self.failure {
            return Err(failure.into());
        }
        let Some(sql) = join_texts(SqlDialect::of(on), self.texts) else {
            return Ok(());
        };
        let query = sqlx::query_with(AssertSqlSafe(sql), self.arguments);
        query.execute(on).await?;
        Ok(())
    }
}

/// Returns the text of statements that run together; `None` without any.
fn join_texts(dialect: SqlDialect, mut texts: Vec<String>) -> Option<String> {
    if dialect == SqlDialect::Sqlite {
        return (!texts.is_empty()).then(|| texts.join("; "));
    }
    let last = texts.pop()?;
    if texts.is_empty() {
        return Some(last);
    }
    let parts: Vec<String> = texts
        .iter()
        .enumerate()
        .map(|(place, text)| format!("part_{place} AS ({text})"))
        .collect();
    Some(format!("WITH {} {last}", parts.join(", ")))
}

/// Numbers the values of a statement anew: `$1` becomes `$4` behind three others.
fn shift_places(sql: &str, by: usize) -> String {
    let mut pieces = sql.split('$');
    let mut shifted = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece
            .find(|letter: char| !letter.is_ascii_digit())
            .unwrap_or(piece.len());
        let (number, rest) = piece.split_at(end);
        shifted.push('$');
        match number.parse::<usize>() {
            Ok(number) => shifted += &(number + by).to_string(),
            Err(_) => shifted += number,
        }
        shifted += rest;
    }
    shifted
}

#[cfg(test)]
mod tests;
