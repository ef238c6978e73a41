//! Addresses: never-used ones first, then those that came back.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr},
};

use ipnet::Ipv4Net;
use sqlx::{AnyConnection, Row as _};

use crate::{domain::address_pool::AddressPool, error::RegistryError};

/// Takes a free pair of addresses of a tailnet, under its counter lock.
pub async fn take(
    on: &mut AnyConnection,
    tailnet_id: u64,
    pool: AddressPool,
) -> Result<(Ipv4Addr, Ipv6Addr), RegistryError> {
    let next: Option<i64> = sqlx::query_scalar("SELECT next FROM pools WHERE tailnet_id = $1")
        .bind(tailnet_id.cast_signed())
        .fetch_optional(&mut *on)
        .await?;
    let next = u32::try_from(next.unwrap_or(1)).unwrap_or(u32::MAX);
    let used = if pool.next_place(next).is_some() {
        None
    } else {
        Some(used(on, tailnet_id).await?)
    };
    let mut place = match &used {
        None => pool.next_place(next),
        Some(used) => pool.free_place(used),
    };
    // A policy may have given out addresses ahead.
    while let Some(taken) = place
        && used.is_none()
        && let Some((ipv4, _)) = pool.at(taken)
        && is_used(on, tailnet_id, ipv4).await?
    {
        place = pool.next_place(taken + 1);
    }
    let place = place.ok_or(RegistryError::AddressesExhausted)?;
    let pair = pool.at(place).ok_or(RegistryError::AddressesExhausted)?;
    if place >= next {
        sqlx::query(
            "INSERT INTO pools (tailnet_id, next) VALUES ($1, $2)
             ON CONFLICT (tailnet_id) DO UPDATE SET next = excluded.next",
        )
        .bind(tailnet_id.cast_signed())
        .bind(i64::from(place) + 1)
        .execute(on)
        .await?;
    }
    Ok(pair)
}

/// Takes a free pair whose IPv4 address is in one of the prefixes that a policy wants, under the counter lock.
pub async fn take_from(
    on: &mut AnyConnection,
    tailnet_id: u64,
    pool: AddressPool,
    wanted: &[Ipv4Net],
) -> Result<(Ipv4Addr, Ipv6Addr), RegistryError> {
    let used = used(on, tailnet_id).await?;
    pool.free_within(wanted, &used)
        .ok_or(RegistryError::AddressesExhausted)
}

async fn is_used(
    on: &mut AnyConnection,
    tailnet_id: u64,
    ipv4: Ipv4Addr,
) -> Result<bool, RegistryError> {
    let found: i64 = sqlx::query_scalar(
        "SELECT CAST(COUNT(*) AS BIGINT) FROM nodes WHERE tailnet_id = $1 AND ipv4 = $2",
    )
    .bind(tailnet_id.cast_signed())
    .bind(ipv4.to_string())
    .fetch_one(on)
    .await?;
    Ok(found > 0)
}

async fn used(
    on: &mut AnyConnection,
    tailnet_id: u64,
) -> Result<BTreeSet<Ipv4Addr>, RegistryError> {
    let rows = sqlx::query("SELECT ipv4 FROM nodes WHERE tailnet_id = $1")
        .bind(tailnet_id.cast_signed())
        .fetch_all(on)
        .await?;
    let addresses = rows
        .iter()
        .filter_map(|row| row.try_get::<String, _>(0).ok());
    Ok(addresses
        .filter_map(|address| address.parse().ok())
        .collect())
}
