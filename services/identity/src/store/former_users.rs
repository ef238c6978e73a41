//! Users who were merged into another, and all that moves with them.

use std::collections::BTreeMap;

use bowline_db::DatabaseError;
use prost::Message as _;
use sqlx::{AnyConnection, Row as _};

use super::{groups, passkeys, provider_refreshes, sessions};

/// Two users of a tailnet, of whom one becomes part of the other.
#[derive(Clone, Copy, Debug)]
pub struct MergedPair {
    /// The tailnet of both.
    pub tailnet_id: u64,
    /// Who is no user of its own afterwards.
    pub from: u64,
    /// Who stays.
    pub into: u64,
}

/// Returns the former numbers of each user of a tailnet that has some, or of one user.
pub async fn list_former_ids(
    on: &mut AnyConnection,
    tailnet_id: u64,
    user_id: Option<u64>,
) -> Result<BTreeMap<u64, Vec<u64>>, DatabaseError> {
    let query = sqlx::query(
        "SELECT user_id, former_id FROM former_users WHERE tailnet_id = $1 AND ($2 = 0 OR user_id = $2)
         ORDER BY former_id",
    );
    let query = query
        .bind(tailnet_id.cast_signed())
        .bind(user_id.unwrap_or(0).cast_signed());
    let mut found: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for row in query.fetch_all(on).await? {
        let number =
            |name: &str| Ok::<_, sqlx::Error>(row.try_get::<i64, _>(name)?.cast_unsigned());
        let former = number("former_id")?;
        found.entry(number("user_id")?).or_default().push(former);
    }
    Ok(found)
}

/// Forgets who a user was, who is gone.
pub async fn forget_former_ids(on: &mut AnyConnection, user_id: u64) -> Result<(), DatabaseError> {
    let query = sqlx::query("DELETE FROM former_users WHERE user_id = $1");
    query.bind(user_id.cast_signed()).execute(on).await?;
    Ok(())
}

/// Gives what one user has to the other, and notes who has the number now: groups, links, credentials, passkeys, sessions.
pub async fn move_belongings(
    on: &mut AnyConnection,
    pair: MergedPair,
) -> Result<(), DatabaseError> {
    let MergedPair {
        tailnet_id,
        from,
        into,
    } = pair;
    for (membership, _) in groups::list_memberships(on, from).await? {
        groups::add_member(on, tailnet_id, into, &membership).await?;
    }
    // The old account ends at its provider, mostly: that is no word about who stays.
    provider_refreshes::end_of_user(on, from, 0).await?;
    for query in [
        "UPDATE provider_identities SET user_id = $2 WHERE user_id = $1",
        "UPDATE credentials SET user_id = $2 WHERE user_id = $1",
        "UPDATE login_attempts SET user_id = $2 WHERE user_id = $1",
        "UPDATE former_users SET user_id = $2 WHERE user_id = $1",
    ] {
        let query = sqlx::query(query).bind(from.cast_signed());
        query.bind(into.cast_signed()).execute(&mut *on).await?;
    }
    for row in passkeys::list_passkeys(&mut *on, tailnet_id, from).await? {
        let mut passkey = row.passkey;
        passkey.user_id = into;
        let query = "UPDATE passkeys SET user_id = $2, body = $3 WHERE id = $1";
        move_row(on, query, &passkey.id, into, passkey.encode_to_vec()).await?;
    }
    for row in sessions::list_sessions(&mut *on, tailnet_id, from).await? {
        let mut session = row.session;
        session.user_id = into;
        let query = "UPDATE sessions SET user_id = $2, body = $3 WHERE id = $1";
        move_row(on, query, &session.id, into, session.encode_to_vec()).await?;
    }
    let query = "INSERT INTO former_users (former_id, tailnet_id, user_id) VALUES ($1, $2, $3)";
    let query = sqlx::query(query)
        .bind(from.cast_signed())
        .bind(tailnet_id.cast_signed())
        .bind(into.cast_signed());
    query.execute(on).await?;
    Ok(())
}

async fn move_row(
    on: &mut AnyConnection,
    query: &'static str,
    id: &str,
    into: u64,
    body: Vec<u8>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query(query)
        .bind(id.to_owned())
        .bind(into.cast_signed())
        .bind(body);
    query.execute(on).await?;
    Ok(())
}
