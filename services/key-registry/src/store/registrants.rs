//! What the transaction of a registration has to know, in one statement.

use bowline_db::{DatabaseError, SqlDialect, from_micros, next_id_sql};
use bowline_proto::key_registry::v1::{PreAuthKey, RegisterRequest};
use chrono::{DateTime, Utc};
use sqlx::{AnyConnection, AssertSqlSafe, Row as _, any::AnyRow};

use super::{barred_users::BARRED_SINCE, decode_optional};
use crate::domain::{registrant_guess::RegistrantGuess, retired_key::hash_key, rotation::KeyOwner};

/// What is asked of a registrant, under the counter lock of its tailnet.
#[derive(Debug)]
pub struct RegistrantQuestion<'r> {
    /// What its client sent.
    pub request: &'r RegisterRequest,
    /// Whose key it is to be.
    pub owner: &'r KeyOwner,
    /// The revision of identity's log that the owner was good at.
    pub identity_revision: u64,
    /// The pre-auth key that is to be used.
    pub pre_auth_key: Option<&'r str>,
    /// Who is counted for a new node.
    pub maker: &'r str,
    /// What a new node is likely to be given.
    pub guess: &'r RegistrantGuess,
}

/// What is true of a registrant.
#[derive(Debug)]
pub struct RegistrantFacts {
    /// Whether a node has the key.
    pub is_bound: bool,
    /// Whether a node has or had the key.
    pub was_bound: bool,
    /// Whether its user was barred since identity was asked.
    pub is_barred: bool,
    /// Whether its machine has a node in the tailnet.
    pub has_node: bool,
    /// Whether its machine is kept out although its node is gone.
    pub is_kept_out: bool,
    /// Whether the tailnet has, had or begins a lock.
    pub has_lock: bool,
    /// The pre-auth key.
    pub pre_auth_key: Option<PreAuthKey>,
    /// When the maker is rested; `None`: nothing is noted, it is.
    pub rested_at: Option<DateTime<Utc>>,
    /// The place in the tailnet's address pool from which on free addresses are looked for.
    pub next_place: u32,
    /// Whether no node has an address of the guess.
    pub is_pair_free: bool,
    /// The name that was guessed, if no node has it: the label itself, or the label with its number.
    pub free_name: Option<String>,
    /// The number of the next node.
    pub next_id: i64,
}

/// Reads what is true of a registrant.
pub async fn read_facts(
    on: &mut AnyConnection,
    question: RegistrantQuestion<'_>,
) -> Result<RegistrantFacts, DatabaseError> {
    // Each part looks into an index and finds a few rows at most, however many nodes there are.
    let sql = format!(
        "SELECT (SELECT COUNT(*) FROM ({BARRED_SINCE}) AS barred) AS barred,
             (SELECT COUNT(*) FROM nodes WHERE node_key = $4) AS bound,
             (SELECT COUNT(*) FROM node_keys WHERE node_key = $4)
                 + (SELECT COUNT(*) FROM retired_keys WHERE key_hash = $5) AS ever_bound,
             (SELECT COUNT(*) FROM (SELECT 1 FROM nodes WHERE tailnet_id = $1 AND machine_key = $6 LIMIT 1) AS held) AS held,
             (SELECT COUNT(*) FROM kept_out_machines WHERE tailnet_id = $1 AND machine_key = $6) AS kept_out,
             (SELECT COUNT(*) FROM tailnet_locks WHERE tailnet_id = $1) AS locks,
             (SELECT body FROM pre_auth_keys WHERE id = $7) AS pre_auth_key,
             (SELECT rested_at FROM paces WHERE tailnet_id = $1 AND maker = $8) AS rested_at,
             (SELECT next FROM pools WHERE tailnet_id = $1) AS next_place,
             (SELECT COUNT(*) FROM nodes WHERE tailnet_id = $1 AND ipv4 = $9)
                 + (SELECT COUNT(*) FROM nodes WHERE tailnet_id = $1 AND ipv6 = $10) AS at_pair,
             (SELECT COUNT(*) FROM nodes WHERE tailnet_id = $1 AND name = $11) AS with_label,
             (SELECT COUNT(*) FROM nodes WHERE tailnet_id = $1 AND name = $12) AS with_number,
             {} AS next_id",
        next_id_sql(SqlDialect::of(on))
    );
    let (request, owner, guess) = (question.request, question.owner, question.guess);
    let ipv4 = guess.pair.map(|pair| pair.ipv4.to_string());
    let ipv6 = guess.pair.map(|pair| pair.ipv6.to_string());
    let query = sqlx::query(AssertSqlSafe(sql))
        .bind(owner.tailnet_id.cast_signed())
        .bind(owner.user_id.cast_signed())
        .bind(question.identity_revision.cast_signed())
        .bind(request.node_key.clone())
        .bind(hash_key(&request.node_key))
        .bind(request.machine_key.clone())
        .bind(question.pre_auth_key.unwrap_or_default().to_owned())
        .bind(question.maker.to_owned())
        .bind(ipv4.unwrap_or_default())
        .bind(ipv6.unwrap_or_default())
        .bind(guess.label.clone())
        .bind(guess.numbered_label());
    read_row(&query.fetch_one(on).await?, guess)
}

fn read_row(row: &AnyRow, guess: &RegistrantGuess) -> Result<RegistrantFacts, DatabaseError> {
    let is_any = |column| Ok::<_, DatabaseError>(row.try_get::<i64, _>(column)? > 0);
    let rested_at: Option<i64> = row.try_get("rested_at")?;
    let next_place: Option<i64> = row.try_get("next_place")?;
    let free_name = match (is_any("with_label")?, is_any("with_number")?) {
        (false, _) => Some(guess.label.clone()),
        (true, false) => Some(guess.numbered_label()),
        (true, true) => None,
    };
    Ok(RegistrantFacts {
        is_bound: is_any("bound")?,
        was_bound: is_any("ever_bound")?,
        is_barred: is_any("barred")?,
        has_node: is_any("held")?,
        is_kept_out: is_any("kept_out")?,
        has_lock: is_any("locks")?,
        pre_auth_key: decode_optional("pre_auth_keys", row, "pre_auth_key")?,
        rested_at: rested_at.and_then(from_micros),
        next_place: u32::try_from(next_place.unwrap_or(1)).unwrap_or(u32::MAX),
        is_pair_free: !is_any("at_pair")?,
        free_name,
        next_id: row.try_get("next_id")?,
    })
}
