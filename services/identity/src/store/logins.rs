//! The table of logins in flight.

use bowline_db::{DatabaseError, to_micros};
use bowline_proto::identity::v1::{Login, LoginState};
use chrono::{DateTime, Utc};
use prost::Message as _;
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe, Executor, Row as _};

use super::{MOST_IDS, decode_bodies, decode_body, format_placeholders};
use crate::domain::login::{
    limits::{EvictionRule, SourceNetworks},
    source_address, wanted_tailnet,
};

/// Returns a login.
pub async fn find_login<'e>(
    on: impl Executor<'e, Database = Any>,
    id: &str,
) -> Result<Option<Login>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM logins WHERE id = $1").bind(id.to_owned());
    query
        .fetch_optional(on)
        .await?
        .map(|row| decode_body("logins", &row))
        .transpose()
}

/// Returns the login of the code that a program shows.
pub async fn find_login_of_code<'e>(
    on: impl Executor<'e, Database = Any>,
    user_code: &str,
) -> Result<Option<Login>, DatabaseError> {
    let query = sqlx::query("SELECT body FROM logins WHERE user_code = $1");
    let row = query.bind(user_code.to_owned()).fetch_optional(on).await?;
    row.map(|row| decode_body("logins", &row)).transpose()
}

/// The login of a program.
#[derive(Clone, Debug)]
pub struct ProgramLogin {
    /// The login.
    pub login: Login,
    /// When its program was last noted to wait for it, in microseconds since 1970; zero before the first time.
    pub followed_at: i64,
}

/// Returns the login of a program by the hash of its device code, decided or not, until its session was opened.
pub async fn find_login_of_program<'e>(
    on: impl Executor<'e, Database = Any>,
    code_hash: &[u8],
) -> Result<Option<ProgramLogin>, DatabaseError> {
    let query = sqlx::query(
        "SELECT body, followed_at FROM logins WHERE machine_key = $1 AND user_code IS NOT NULL",
    );
    let row = query.bind(code_hash.to_vec()).fetch_optional(on).await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(ProgramLogin {
        login: decode_body("logins", &row)?,
        followed_at: row.try_get("followed_at")?,
    }))
}

/// Uses up the codes of a program's login; says whether they were there.
pub async fn take_program_codes(on: &mut AnyConnection, id: &str) -> Result<bool, DatabaseError> {
    let query =
        sqlx::query("UPDATE logins SET user_code = NULL WHERE id = $1 AND user_code IS NOT NULL");
    let taken = query.bind(id.to_owned()).execute(on).await?;
    Ok(taken.rows_affected() == 1)
}

/// Returns the newest pending logins of devices that want to join a tailnet, oldest first; those that name none where
/// `also_unnamed`. At most `limit`.
pub async fn list_logins_of_tailnet<'e>(
    on: impl Executor<'e, Database = Any>,
    tailnet: &str,
    also_unnamed: bool,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Login>, DatabaseError> {
    let query = sqlx::query(
        "SELECT body FROM logins WHERE pending = 1 AND purpose = 0 AND expires_at > $1
             AND (wanted_tailnet = $2 OR wanted_tailnet = $3)
         ORDER BY expires_at DESC LIMIT $4",
    );
    let rows = query
        .bind(to_micros(now))
        .bind(tailnet.to_owned())
        .bind(if also_unnamed { "" } else { tailnet }.to_owned())
        .bind(limit)
        .fetch_all(on)
        .await?;
    let mut logins: Vec<Login> = decode_bodies("logins", &rows)?;
    logins.reverse();
    Ok(logins)
}

/// Returns the pending logins of a machine, or of all machines; those that expire first come first.
pub async fn list_pending_logins<'e>(
    on: impl Executor<'e, Database = Any>,
    machine_key: Option<&[u8]>,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Login>, DatabaseError> {
    let rows =
        match machine_key {
            Some(key) => sqlx::query(
                "SELECT body FROM logins WHERE machine_key = $1 AND pending = 1 AND expires_at > $2
                 ORDER BY expires_at LIMIT $3",
            )
            .bind(key.to_vec())
            .bind(to_micros(now))
            .bind(limit)
            .fetch_all(on)
            .await?,
            None => {
                sqlx::query(
                    "SELECT body FROM logins WHERE pending = 1 AND expires_at > $1
                 ORDER BY expires_at LIMIT $2",
                )
                .bind(to_micros(now))
                .bind(limit)
                .fetch_all(on)
                .await?
            }
        };
    decode_bodies("logins", &rows)
}

/// Lets no other transaction start a login until this one ends, so that counts stay true until the new login is inserted.
/// Every start updates the one row of `login_gate`.
pub async fn lock_logins(on: &mut AnyConnection) -> Result<(), DatabaseError> {
    sqlx::query("UPDATE login_gate SET started = started + 1 WHERE id = 1")
        .execute(on)
        .await?;
    Ok(())
}

/// Counts the pending logins of each network around a source, from the narrowest to the widest.
pub async fn count_pending_of(
    on: &mut AnyConnection,
    networks: &SourceNetworks,
    now: DateTime<Utc>,
) -> Result<[i64; 3], DatabaseError> {
    let mut counts = [0; 3];
    let columns = [
        ("near", &networks.near),
        ("middle", &networks.middle),
        ("far", &networks.far),
    ];
    for (count, (column, network)) in counts.iter_mut().zip(columns) {
        let query = format!(
            "SELECT CAST(COUNT(*) AS BIGINT) FROM logins
             WHERE {column} = $1 AND pending = 1 AND expires_at > $2"
        );
        *count = sqlx::query_scalar(AssertSqlSafe(query))
            .bind(network.clone())
            .bind(to_micros(now))
            .fetch_one(&mut *on)
            .await?;
    }
    Ok(counts)
}

/// Counts the pending logins.
pub async fn count_pending(
    on: &mut AnyConnection,
    now: DateTime<Utc>,
) -> Result<i64, DatabaseError> {
    let query = "SELECT CAST(COUNT(*) AS BIGINT) FROM logins WHERE pending = 1 AND expires_at > $1";
    let count = sqlx::query_scalar(query).bind(to_micros(now));
    Ok(count.fetch_one(on).await?)
}

/// Deletes pending logins that a rule lets go, and returns how many.
///
/// They are the oldest ones of one network: of those that have a login to let go, the network with the most pending logins.
pub async fn evict_logins(
    on: &mut AnyConnection,
    now: DateTime<Utc>,
    go: &EvictionRule,
) -> Result<u64, DatabaseError> {
    // Two queries, because a database may join each login with each other one to answer both at once.
    let heaviest = sqlx::query_scalar::<_, String>(
        "SELECT far FROM logins WHERE pending = 1 AND expires_at > $1 GROUP BY far
         HAVING SUM(CASE WHEN followed_at < $2 AND expires_at < $3 THEN 1 ELSE 0 END) > 0
         ORDER BY COUNT(*) DESC, MIN(expires_at) LIMIT 1",
    )
    .bind(to_micros(now))
    .bind(to_micros(go.followed_before))
    .bind(to_micros(go.ending_before))
    .fetch_optional(&mut *on)
    .await?;
    let Some(heaviest) = heaviest else {
        return Ok(0);
    };
    let gone = sqlx::query(
        "DELETE FROM logins WHERE id IN (
             SELECT id FROM logins WHERE far = $1 AND pending = 1 AND expires_at > $2
                 AND followed_at < $3 AND expires_at < $4
             ORDER BY expires_at LIMIT $5)",
    );
    let gone = gone
        .bind(heaviest)
        .bind(to_micros(now))
        .bind(to_micros(go.followed_before))
        .bind(to_micros(go.ending_before))
        .bind(go.most)
        .execute(on)
        .await?;
    Ok(gone.rows_affected())
}

/// Returns those of these logins that are decided.
pub async fn list_decided_logins(
    on: &AnyPool,
    ids: &[String],
) -> Result<Vec<Login>, DatabaseError> {
    let query = format!(
        "SELECT body FROM logins WHERE pending = 0 AND id IN ({})",
        format_placeholders(1, ids.len())
    );
    let mut query = sqlx::query(AssertSqlSafe(query));
    for id in ids {
        query = query.bind(id.clone());
    }
    decode_bodies("logins", &query.fetch_all(on).await?)
}

/// Records that clients wait for these logins now.
pub async fn note_awaited(
    on: &mut AnyConnection,
    ids: &[String],
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    for ids in ids.chunks(MOST_IDS) {
        let query = format!(
            "UPDATE logins SET followed_at = $1 WHERE id IN ({})",
            format_placeholders(2, ids.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(query)).bind(to_micros(now));
        for id in ids {
            query = query.bind(id.clone());
        }
        query.execute(&mut *on).await?;
    }
    Ok(())
}

/// Inserts a new login.
pub async fn put_login(on: &mut AnyConnection, login: &Login) -> Result<(), DatabaseError> {
    let source = source_address(login);
    let networks = SourceNetworks::from_address(source);
    let expires_at = login.expires_at.map_or(0, |end| end.seconds * 1_000_000);
    sqlx::query(
        "INSERT INTO logins (id, pending, machine_key, source, near, middle, far, expires_at, body, user_code, purpose, wanted_tailnet)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(login.id.clone())
    .bind(i64::from(login.state() == LoginState::Pending))
    .bind(login.machine_key.clone())
    .bind(source.to_owned())
    .bind(networks.near)
    .bind(networks.middle)
    .bind(networks.far)
    .bind(expires_at)
    .bind(login.encode_to_vec())
    .bind(
        login
            .program
            .as_ref()
            .map(|program| program.user_code.clone()),
    )
    .bind(i64::from(login.purpose))
    .bind(wanted_tailnet(login).to_owned())
    .execute(on)
    .await?;
    Ok(())
}

/// Writes the decision about a login, unless it is decided already. Says whether it was written.
pub async fn decide_login(on: &mut AnyConnection, login: &Login) -> Result<bool, DatabaseError> {
    let query =
        sqlx::query("UPDATE logins SET pending = 0, body = $2 WHERE id = $1 AND pending = 1");
    let done = query
        .bind(login.id.clone())
        .bind(login.encode_to_vec())
        .execute(on)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Deletes logins that expired before a time.
pub async fn forget_logins(
    on: &mut AnyConnection,
    before: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM logins WHERE expires_at < $1");
    query.bind(to_micros(before)).execute(on).await?;
    Ok(())
}
