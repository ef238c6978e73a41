//! The gateways as operators see them.

use bowline_db::{Database, DatabaseError};
use bowline_proto::{
    key_registry::v1::{DescribedGateway, LeaseState},
    time::to_timestamp,
};
use chrono::{DateTime, Utc};

use crate::{
    domain::fleet::Incarnation,
    error::RegistryError,
    store::{
        gateways,
        lags::{self, LagRow},
    },
};

/// Describes all gateways that are remembered, by name.
pub(crate) async fn describe_fleet(
    database: &Database,
) -> Result<Vec<DescribedGateway>, RegistryError> {
    let mut reader = database
        .reader()
        .acquire()
        .await
        .map_err(DatabaseError::from)?;
    let now = database.now().await?;
    let mut fleet = gateways::list_gateways(&mut *reader).await?;
    fleet.sort_by(|one, other| one.gateway.cmp(&other.gateway));
    let lags = lags::list_lags(&mut reader).await?;
    let mut control_keys = gateways::list_control_keys(&mut *reader).await?;
    let describe = |one: &Incarnation| {
        let lag = lags.get(&one.gateway).copied().unwrap_or_default();
        DescribedGateway {
            control_keys: control_keys.remove(&one.gateway),
            ..describe_gateway(one, lag, lease_state(one, &fleet, now))
        }
    };
    Ok(fleet.iter().map(describe).collect())
}

fn lease_state(one: &Incarnation, fleet: &[Incarnation], now: DateTime<Utc>) -> LeaseState {
    if one.is_live(now) {
        LeaseState::Live
    } else if one.is_gone(fleet, now) {
        LeaseState::Gone
    } else {
        LeaseState::Stale
    }
}

fn describe_gateway(one: &Incarnation, lag: LagRow, lease: LeaseState) -> DescribedGateway {
    DescribedGateway {
        gateway: one.gateway.clone(),
        // Before it stand what tells machines and networks apart.
        address: one.slot.rsplit('/').next().unwrap_or_default().to_owned(),
        lease: lease.into(),
        lease_end: Some(to_timestamp(one.lease_end)),
        known_since: Some(to_timestamp(one.known_at)),
        tailnets: lag.tailnets,
        tailnets_behind: lag.tailnets_behind,
        revisions_behind: lag.revisions_behind,
        identity_tailnets_behind: lag.identity_tailnets_behind,
        identity_revisions_behind: lag.identity_revisions_behind,
        control_keys: None,
    }
}
