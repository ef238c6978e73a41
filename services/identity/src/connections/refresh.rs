//! What a changed interval of refreshes means for people who have logged in already.

use bowline_proto::identity::v1::Connection;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::AnyConnection;

use crate::{
    domain::connection::refresh_interval, error::IdentityError,
    login_attempts::provider::oidc_provider, store,
};

/// Forgets what a provider is asked by where it is asked no more, and asks sooner where the interval is shorter.
pub(super) async fn apply_refresh_interval(
    on: &mut AnyConnection,
    before: &Connection,
    changed: &Connection,
    now: DateTime<Utc>,
) -> Result<(), IdentityError> {
    let interval = |connection| oidc_provider(connection).ok().and_then(refresh_interval);
    let (was, is): (Option<TimeDelta>, _) = (interval(before), interval(changed));
    match is {
        None if was.is_some() => {
            store::provider_refreshes::end_of_connection(on, changed.id).await?;
        }
        Some(is) if was.is_some_and(|was| is < was) => {
            store::provider_refreshes::limit_due(on, changed.id, now + is).await?;
        }
        _ => {}
    }
    Ok(())
}
