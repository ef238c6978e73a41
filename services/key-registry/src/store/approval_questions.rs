//! Questions about machines that wait, which an outside system is to answer.

use bowline_db::{DatabaseError, to_micros};
use bowline_proto::identity::v1::AskApprovalRequest;
use chrono::{DateTime, Utc};
use prost::Message as _;
use sqlx::{Any, AnyConnection, Executor, Row as _};

use super::{TailnetNode, decode_body};

/// Writes the question about a node, in place of one that is there.
pub async fn put_question(
    on: &mut AnyConnection,
    question: &AskApprovalRequest,
    now: DateTime<Utc>,
) -> Result<(), DatabaseError> {
    let query = sqlx::query(
        "INSERT INTO approval_questions (node_id, tailnet_id, question_id, due, attempts, body)
         VALUES ($1, $2, $3, $4, 0, $5)
         ON CONFLICT (node_id) DO UPDATE SET question_id = excluded.question_id, due = excluded.due, attempts = 0,
             body = excluded.body",
    );
    let query = query.bind(question.node_id.cast_signed());
    let query = query.bind(question.tailnet_id.cast_signed());
    let query = query
        .bind(question.question_id.clone())
        .bind(to_micros(now));
    query.bind(question.encode_to_vec()).execute(on).await?;
    Ok(())
}

/// Returns nodes with a question that is due, some of each tailnet.
pub async fn list_due<'e>(
    on: impl Executor<'e, Database = Any>,
    now: DateTime<Utc>,
    most_of_tailnet: i64,
    most: i64,
) -> Result<Vec<TailnetNode>, DatabaseError> {
    let query = sqlx::query(
        "SELECT tailnet_id, node_id FROM (
             SELECT tailnet_id, node_id,
                 ROW_NUMBER() OVER (PARTITION BY tailnet_id ORDER BY due, node_id) AS place
             FROM approval_questions WHERE due <= $1) ranked
         WHERE place <= $2 ORDER BY place LIMIT $3",
    );
    let query = query.bind(to_micros(now)).bind(most_of_tailnet).bind(most);
    let rows = query.fetch_all(on).await?;
    let read = |row: &sqlx::any::AnyRow| {
        Ok(TailnetNode {
            tailnet_id: row.try_get::<i64, _>(0)?.cast_unsigned(),
            node_id: row.try_get::<i64, _>(1)?.cast_unsigned(),
        })
    };
    rows.iter().map(read).collect()
}

/// Takes a question until a time, if it is due, and returns it with how often it was taken before.
pub async fn take_question(
    on: &mut AnyConnection,
    node_id: u64,
    now: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<Option<(AskApprovalRequest, i64)>, DatabaseError> {
    let query = sqlx::query(
        "UPDATE approval_questions SET due = $3, attempts = attempts + 1 WHERE node_id = $1 AND due <= $2",
    );
    let query = query.bind(node_id.cast_signed());
    let query = query.bind(to_micros(now)).bind(to_micros(until));
    if query.execute(&mut *on).await?.rows_affected() == 0 {
        return Ok(None);
    }
    let query = sqlx::query("SELECT body, attempts FROM approval_questions WHERE node_id = $1");
    let row = query.bind(node_id.cast_signed()).fetch_one(on).await?;
    let attempts: i64 = row.try_get("attempts")?;
    Ok(Some((
        decode_body("approval_questions", &row)?,
        attempts - 1,
    )))
}

/// Forgets a question that is answered.
pub async fn delete_question(
    on: &mut AnyConnection,
    node_id: u64,
    question_id: &str,
) -> Result<(), DatabaseError> {
    sqlx::query("DELETE FROM approval_questions WHERE node_id = $1 AND question_id = $2")
        .bind(node_id.cast_signed())
        .bind(question_id.to_owned())
        .execute(on)
        .await?;
    Ok(())
}
