//! How far gateways are behind the logs.

use std::collections::BTreeMap;

use bowline_db::DatabaseError;
use sqlx::{AnyConnection, Row as _};

/// How far a gateway is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LagRow {
    /// How many tailnets it serves.
    pub tailnets: u64,
    /// In how many it has not applied all of the registry's log.
    pub tailnets_behind: u64,
    /// How many revisions of that it has not applied where that is most.
    pub revisions_behind: u64,
    /// In how many it has not applied what is known here of identity's log.
    pub identity_tailnets_behind: u64,
    /// How many revisions of that it has not applied where that is most.
    pub identity_revisions_behind: u64,
}

/// Returns how far each gateway that serves a tailnet is behind.
pub async fn list_lags(on: &mut AnyConnection) -> Result<BTreeMap<String, LagRow>, DatabaseError> {
    let query = sqlx::query(
        "SELECT gateway, CAST(COUNT(*) AS BIGINT),
             CAST(SUM(CASE WHEN behind > 0 THEN 1 ELSE 0 END) AS BIGINT), CAST(MAX(behind) AS BIGINT),
             CAST(SUM(CASE WHEN identity_behind > 0 THEN 1 ELSE 0 END) AS BIGINT), CAST(MAX(identity_behind) AS BIGINT)
         FROM (SELECT gateway, COALESCE(heads.revision, 0) - gateway_progress.revision AS behind,
                 COALESCE(identity_progress.revision, 0) - gateway_progress.identity_revision AS identity_behind
             FROM gateway_progress
             LEFT JOIN heads ON heads.tailnet_id = gateway_progress.tailnet_id
             LEFT JOIN identity_progress ON identity_progress.tailnet_id = gateway_progress.tailnet_id) AS lags
         GROUP BY gateway",
    );
    let mut lags = BTreeMap::new();
    for row in query.fetch_all(on).await? {
        // What is ahead is not behind.
        let number = |place: usize| {
            Ok(row.try_get::<i64, _>(place)?.max(0).cast_unsigned()) as Result<_, sqlx::Error>
        };
        let lag = LagRow {
            tailnets: number(1)?,
            tailnets_behind: number(2)?,
            revisions_behind: number(3)?,
            identity_tailnets_behind: number(4)?,
            identity_revisions_behind: number(5)?,
        };
        lags.insert(row.try_get(0)?, lag);
    }
    Ok(lags)
}
