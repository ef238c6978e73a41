//! Addresses: never-used ones first, then those that came back.

use std::{collections::BTreeSet, net::IpAddr};

use bowline_db::StatementGroup;
use ipnet::Ipv4Net;
use sqlx::{AnyConnection, Row as _};

use crate::{
    domain::address_pool::{AddressPair, AddressPool},
    error::RegistryError,
};

/// A free pair of addresses.
#[derive(Clone, Copy, Debug)]
pub struct FreePair {
    /// The addresses.
    pub pair: AddressPair,
    /// The place from which on none is given when the pair is taken, if that changes.
    pub next_place: Option<u32>,
}

/// Takes a free pair of addresses of a tailnet, under its counter lock.
pub async fn take_pair(
    on: &mut AnyConnection,
    tailnet_id: u64,
    pool: AddressPool,
) -> Result<AddressPair, RegistryError> {
    let next: Option<i64> = sqlx::query_scalar("SELECT next FROM pools WHERE tailnet_id = $1")
        .bind(tailnet_id.cast_signed())
        .fetch_optional(&mut *on)
        .await?;
    let next = u32::try_from(next.unwrap_or(1)).unwrap_or(u32::MAX);
    let found = find_pair(on, tailnet_id, pool, next).await?;
    if let Some(next_place) = found.next_place {
        let mut group = StatementGroup::default();
        add_next_place(&mut group, tailnet_id, next_place);
        group.execute(on).await?;
    }
    Ok(found.pair)
}

/// Finds a free pair of addresses of a tailnet, under its counter lock; none was given from a place on.
pub async fn find_pair(
    on: &mut AnyConnection,
    tailnet_id: u64,
    pool: AddressPool,
    next: u32,
) -> Result<FreePair, RegistryError> {
    let mut place = pool.next_place(next);
    // A policy may have given out addresses ahead, or the pool lay elsewhere.
    while let Some(taken) = place
        && let Some(pair) = pool.pair_at(taken)
        && is_used(on, tailnet_id, pair).await?
    {
        place = pool.next_place(taken + 1);
    }
    let place = match place {
        Some(place) => place,
        None => pool
            .free_place(&list_used(on, tailnet_id).await?)
            .ok_or_else(|| RegistryError::tailnet_exhausted(pool))?,
    };
    let pair = pool.pair_at(place);
    Ok(FreePair {
        pair: pair.ok_or_else(|| RegistryError::tailnet_exhausted(pool))?,
        next_place: (place >= next).then_some(place.saturating_add(1)),
    })
}

/// Notes the place from which on none was given, with other statements.
pub fn add_next_place(group: &mut StatementGroup, tailnet_id: u64, next_place: u32) {
    group.add(
        "INSERT INTO pools (tailnet_id, next) VALUES ($1, $2)
         ON CONFLICT (tailnet_id) DO UPDATE SET next = excluded.next",
    );
    group
        .bind(tailnet_id.cast_signed())
        .bind(i64::from(next_place));
}

/// Takes a free pair whose IPv4 address is in one of the prefixes that a policy wants, under the counter lock.
pub async fn take_wanted_pair(
    on: &mut AnyConnection,
    tailnet_id: u64,
    pool: AddressPool,
    wanted: &[Ipv4Net],
) -> Result<AddressPair, RegistryError> {
    let used = list_used(on, tailnet_id).await?;
    pool.free_pair_within(wanted, &used)
        .ok_or_else(|| RegistryError::policy_exhausted(wanted))
}

async fn is_used(
    on: &mut AnyConnection,
    tailnet_id: u64,
    pair: AddressPair,
) -> Result<bool, RegistryError> {
    let found: i64 = sqlx::query_scalar(
        "SELECT CAST(COUNT(*) AS BIGINT) FROM nodes WHERE tailnet_id = $1 AND (ipv4 = $2 OR ipv6 = $3)",
    )
    .bind(tailnet_id.cast_signed())
    .bind(pair.ipv4.to_string())
    .bind(pair.ipv6.to_string())
    .fetch_one(on)
    .await?;
    Ok(found > 0)
}

async fn list_used(
    on: &mut AnyConnection,
    tailnet_id: u64,
) -> Result<BTreeSet<IpAddr>, RegistryError> {
    let rows = sqlx::query("SELECT ipv4, ipv6 FROM nodes WHERE tailnet_id = $1")
        .bind(tailnet_id.cast_signed())
        .fetch_all(on)
        .await?;
    let both = rows
        .iter()
        .flat_map(|row| [row.try_get::<String, _>(0), row.try_get(1)]);
    Ok(both
        .filter_map(|address| address.ok()?.parse().ok())
        .collect())
}
