//! Attempts to log in by a provider.

use bowline_db::{DatabaseError, from_micros, to_micros};
use chrono::{DateTime, Utc};
use sqlx::{Any, AnyConnection, AssertSqlSafe, Executor, Row as _, any::AnyRow};

use crate::domain::attempt::AttemptStep;

/// An attempt as it is stored.
#[derive(Clone, Debug)]
pub struct AttemptRow {
    /// Its identifier.
    pub id: String,
    /// The login it is to decide.
    pub login_id: String,
    /// The tailnet of the connection.
    pub tailnet_id: u64,
    /// The connection.
    pub connection_id: u64,
    /// SHA-256 of the browser's secret; empty until a browser comes, where the provider began.
    pub browser: Vec<u8>,
    /// SHA-256 of the state that the browser brings back.
    pub state_hash: Vec<u8>,
    /// Where it stands.
    pub step: AttemptStep,
    /// The user; zero until one is known.
    pub user_id: u64,
    /// Where the provider sends the browser back to.
    pub callback_url: String,
    /// What binds the login at the provider, sealed.
    pub sealed: Vec<u8>,
    /// What the provider's answer says of the person (SAML), or gave with it (OpenID Connect), sealed; `None` until there is
    /// one.
    pub answer: Option<Vec<u8>>,
    /// What the provider is asked for once more, as JSON; `None` the first time.
    pub asked: Option<String>,
    /// When it ends by itself.
    pub expires_at: DateTime<Utc>,
}

impl AttemptRow {
    /// Says whether the provider began it: nothing was sealed for a way to the provider, and no other connection has that.
    #[must_use]
    pub fn is_unsolicited(&self) -> bool {
        self.connection_id != 0 && self.sealed.is_empty()
    }
}

const COLUMNS: &str = "id, login_id, tailnet_id, connection_id, browser, state_hash, step, user_id, callback_url, sealed, answer, asked, expires_at";

fn read_row(row: &AnyRow) -> Result<AttemptRow, DatabaseError> {
    let number = |name: &str| row.try_get::<i64, _>(name).map(i64::cast_unsigned);
    let inconsistent = |problem: &str| DatabaseError::Inconsistent {
        table: "login_attempts",
        row: problem.to_owned(),
    };
    let step = AttemptStep::from_number(row.try_get("step")?);
    let expires_at = from_micros(row.try_get("expires_at")?);
    Ok(AttemptRow {
        id: row.try_get("id")?,
        login_id: row.try_get("login_id")?,
        tailnet_id: number("tailnet_id")?,
        connection_id: number("connection_id")?,
        browser: row.try_get("browser")?,
        state_hash: row.try_get("state_hash")?,
        step: step.ok_or_else(|| inconsistent("its step is not known"))?,
        user_id: number("user_id")?,
        callback_url: row.try_get("callback_url")?,
        sealed: row.try_get("sealed")?,
        answer: row.try_get("answer")?,
        asked: row.try_get("asked")?,
        expires_at: expires_at.ok_or_else(|| inconsistent("its end is no time"))?,
    })
}

fn read_first(row: Option<&AnyRow>) -> Result<Option<AttemptRow>, DatabaseError> {
    row.map(read_row).transpose()
}

/// Returns an attempt.
pub async fn find_attempt<'e>(
    on: impl Executor<'e, Database = Any>,
    id: &str,
) -> Result<Option<AttemptRow>, DatabaseError> {
    let query = format!("SELECT {COLUMNS} FROM login_attempts WHERE id = $1");
    let query = sqlx::query(AssertSqlSafe(query)).bind(id.to_owned());
    read_first(query.fetch_optional(on).await?.as_ref())
}

/// Returns the attempt whose state a browser brings back.
pub async fn find_attempt_of_state<'e>(
    on: impl Executor<'e, Database = Any>,
    state_hash: &[u8],
) -> Result<Option<AttemptRow>, DatabaseError> {
    let query = format!("SELECT {COLUMNS} FROM login_attempts WHERE state_hash = $1");
    let query = sqlx::query(AssertSqlSafe(query)).bind(state_hash.to_vec());
    read_first(query.fetch_optional(on).await?.as_ref())
}

/// Returns the attempt by which a person has approved a login, unless it has ended by itself.
pub async fn find_approved_attempt<'e>(
    on: impl Executor<'e, Database = Any>,
    login_id: &str,
    now: DateTime<Utc>,
) -> Result<Option<AttemptRow>, DatabaseError> {
    let query = format!(
        "SELECT {COLUMNS} FROM login_attempts WHERE login_id = $1 AND step = $2 AND expires_at > $3"
    );
    let query = sqlx::query(AssertSqlSafe(query))
        .bind(login_id.to_owned())
        .bind(AttemptStep::Approved.number())
        .bind(to_micros(now));
    read_first(query.fetch_optional(on).await?.as_ref())
}

/// Takes what a provider gave with an approved attempt, and forgets it; says whether the attempt is still there.
pub async fn take_approved(on: &mut AnyConnection, id: &str) -> Result<bool, DatabaseError> {
    let query = sqlx::query("UPDATE login_attempts SET answer = NULL WHERE id = $1 AND step = $2");
    let query = query
        .bind(id.to_owned())
        .bind(AttemptStep::Approved.number());
    Ok(query.execute(on).await?.rows_affected() == 1)
}

/// Forgets the attempts by which a user has logged in by a connection.
pub async fn delete_attempts_of_user(
    on: &mut AnyConnection,
    user_id: u64,
    connection_id: u64,
) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM login_attempts WHERE user_id = $1 AND connection_id = $2");
    query
        .bind(user_id.cast_signed())
        .bind(connection_id.cast_signed())
        .execute(on)
        .await?;
    Ok(())
}

/// Forgets the attempts by which a user has let something in.
pub async fn delete_approved_attempts(
    on: &mut AnyConnection,
    user_id: u64,
) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM login_attempts WHERE user_id = $1 AND step = $2");
    query
        .bind(user_id.cast_signed())
        .bind(AttemptStep::Approved.number())
        .execute(on)
        .await?;
    Ok(())
}

/// Counts the attempts of a login that have not ended by themselves.
pub async fn count_attempts(
    on: &mut AnyConnection,
    login_id: &str,
    now: DateTime<Utc>,
) -> Result<i64, DatabaseError> {
    let query = "SELECT CAST(COUNT(*) AS BIGINT) FROM login_attempts WHERE login_id = $1 AND expires_at > $2";
    let query = sqlx::query_scalar(query)
        .bind(login_id.to_owned())
        .bind(to_micros(now));
    Ok(query.fetch_one(on).await?)
}

/// Writes a new attempt.
pub async fn insert_attempt(on: &mut AnyConnection, row: &AttemptRow) -> Result<(), DatabaseError> {
    sqlx::query(
        "INSERT INTO login_attempts (id, login_id, tailnet_id, connection_id, browser, state_hash, step, user_id,
             callback_url, sealed, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(row.id.clone())
    .bind(row.login_id.clone())
    .bind(row.tailnet_id.cast_signed())
    .bind(row.connection_id.cast_signed())
    .bind(row.browser.clone())
    .bind(row.state_hash.clone())
    .bind(row.step.number())
    .bind(row.user_id.cast_signed())
    .bind(row.callback_url.clone())
    .bind(row.sealed.clone())
    .bind(to_micros(row.expires_at))
    .execute(on)
    .await?;
    Ok(())
}

/// Moves an attempt from one step to the next; says whether it stood there. Of several at once only one moves it.
pub async fn move_attempt(
    on: &mut AnyConnection,
    id: &str,
    from: AttemptStep,
    to: AttemptStep,
    user_id: u64,
) -> Result<bool, DatabaseError> {
    let query = sqlx::query(
        "UPDATE login_attempts SET step = $3, user_id = $4 WHERE id = $1 AND step = $2",
    );
    let moved = query
        .bind(id.to_owned())
        .bind(from.number())
        .bind(to.number())
        .bind(user_id.cast_signed())
        .execute(on)
        .await?;
    Ok(moved.rows_affected() == 1)
}

/// Keeps a provider's answer for the browser that began the attempt; says whether the attempt waited for one.
pub async fn keep_answer(
    on: &mut AnyConnection,
    id: &str,
    answer: Vec<u8>,
) -> Result<bool, DatabaseError> {
    let query =
        sqlx::query("UPDATE login_attempts SET step = $3, answer = $4 WHERE id = $1 AND step = $2");
    let kept = query
        .bind(id.to_owned())
        .bind(AttemptStep::Sent.number())
        .bind(AttemptStep::Answered.number())
        .bind(answer)
        .execute(on)
        .await?;
    Ok(kept.rows_affected() == 1)
}

/// Gives an attempt that no browser has begun to a browser; says whether it was the first that came.
pub async fn bind_browser(
    on: &mut AnyConnection,
    id: &str,
    browser: Vec<u8>,
) -> Result<bool, DatabaseError> {
    let query =
        sqlx::query("UPDATE login_attempts SET browser = $3 WHERE id = $1 AND browser = $2");
    let bound = query
        .bind(id.to_owned())
        .bind(Vec::<u8>::new())
        .bind(browser)
        .execute(on)
        .await?;
    Ok(bound.rows_affected() == 1)
}

/// Keeps what an OpenID Connect provider gave, sealed, while its answer is taken.
pub async fn keep_tokens(
    on: &mut AnyConnection,
    id: &str,
    tokens: Vec<u8>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query("UPDATE login_attempts SET answer = $3 WHERE id = $1 AND step = $2");
    query
        .bind(id.to_owned())
        .bind(AttemptStep::Taken.number())
        .bind(tokens)
        .execute(on)
        .await?;
    Ok(())
}

/// Records what the provider is asked for once more; says whether the attempt stood where it was.
pub async fn need_more(
    on: &mut AnyConnection,
    id: &str,
    from: AttemptStep,
    asked: &str,
) -> Result<bool, DatabaseError> {
    let query =
        sqlx::query("UPDATE login_attempts SET step = $3, asked = $4 WHERE id = $1 AND step = $2");
    let moved = query
        .bind(id.to_owned())
        .bind(from.number())
        .bind(AttemptStep::NeedsMore.number())
        .bind(asked.to_owned())
        .execute(on)
        .await?;
    Ok(moved.rows_affected() == 1)
}

/// Sends an attempt to the provider once more, with other secrets; says whether it was to be.
pub async fn send_again(on: &mut AnyConnection, row: &AttemptRow) -> Result<bool, DatabaseError> {
    let query = sqlx::query(
        "UPDATE login_attempts SET step = $3, state_hash = $4, callback_url = $5, sealed = $6, answer = NULL
         WHERE id = $1 AND step = $2",
    );
    let moved = query
        .bind(row.id.clone())
        .bind(AttemptStep::NeedsMore.number())
        .bind(AttemptStep::Sent.number())
        .bind(row.state_hash.clone())
        .bind(row.callback_url.clone())
        .bind(row.sealed.clone())
        .execute(on)
        .await?;
    Ok(moved.rows_affected() == 1)
}

/// Forgets an attempt that stands at a step.
pub async fn delete_attempt(
    on: &mut AnyConnection,
    id: &str,
    step: AttemptStep,
) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM login_attempts WHERE id = $1 AND step = $2");
    let query = query.bind(id.to_owned()).bind(step.number());
    query.execute(on).await?;
    Ok(())
}

/// Forgets the attempts that have ended by themselves before a time.
pub async fn forget_attempts(
    on: &mut AnyConnection,
    before: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM login_attempts WHERE expires_at < $1");
    query.bind(to_micros(before)).execute(on).await?;
    Ok(())
}
