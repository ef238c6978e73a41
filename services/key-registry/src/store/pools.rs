//! Addresses: where they are looked for, behind those that were given last, one that no node has is found in one statement,
//! whatever the number of nodes.

use std::net::Ipv4Addr;

use bowline_db::{DatabaseError, StatementGroup};
use sqlx::AnyConnection;

use crate::{
    domain::address_pool::{AddressPair, AddressPool, AddressRange},
    error::RegistryError,
};

/// Takes a free pair of addresses of a tailnet's own pool, under its counter lock.
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
    let found = find_pair(on, tailnet_id, pool, pool.ranges_from(next)).await?;
    let pair = found.ok_or_else(|| RegistryError::tailnet_exhausted(pool))?;
    let mut group = StatementGroup::default();
    add_next_place(&mut group, tailnet_id, pool.place_behind(pair.ipv4));
    group.execute(on).await?;
    Ok(pair)
}

/// Finds a pair that no node of a tailnet has, under its counter lock: the first of the first range that has one.
pub async fn find_pair(
    on: &mut AnyConnection,
    tailnet_id: u64,
    pool: AddressPool,
    ranges: impl IntoIterator<Item = AddressRange>,
) -> Result<Option<AddressPair>, DatabaseError> {
    let number = |ipv4| u64::from(u32::from(ipv4));
    for mut range in ranges {
        // The first is free, as a rule. Where the pool lay elsewhere before, a node may have the IPv6 address alone.
        while let Some(pair) = pool.first_pair(range.clone()) {
            if !is_used(on, tailnet_id, pair).await? {
                return Ok(Some(pair));
            }
            range.start = number(pair.ipv4) + 1;
            match find_address(on, tailnet_id, &range).await? {
                Some(free) => range.start = number(free),
                None => break,
            }
        }
    }
    Ok(None)
}

/// Returns the first IPv4 address of a range that no node of a tailnet has.
async fn find_address(
    on: &mut AnyConnection,
    tailnet_id: u64,
    range: &AddressRange,
) -> Result<Option<Ipv4Addr>, DatabaseError> {
    // It looks into the index for one address after the other, and ends at the first that is not there.
    let query = sqlx::query_scalar::<_, i64>(
        "WITH RECURSIVE places (place) AS (
             SELECT CAST($2 AS BIGINT) UNION ALL SELECT place + 1 FROM places WHERE place + 1 < $3)
         SELECT place FROM places
         WHERE (SELECT COUNT(*) FROM nodes WHERE tailnet_id = $1 AND ipv4 = (place >> 24) || '.' || ((place >> 16) & 255)
                    || '.' || ((place >> 8) & 255) || '.' || (place & 255)) = 0
         LIMIT 1",
    );
    let query = query.bind(tailnet_id.cast_signed());
    let query = query
        .bind(range.start.cast_signed())
        .bind(range.end.cast_signed());
    let found = query.fetch_optional(on).await?;
    Ok(found.and_then(|number| Some(Ipv4Addr::from(u32::try_from(number).ok()?))))
}

/// Notes the place from which on free addresses are looked for, with other statements.
pub fn add_next_place(group: &mut StatementGroup, tailnet_id: u64, next_place: u32) {
    group.add(
        "INSERT INTO pools (tailnet_id, next) VALUES ($1, $2)
         ON CONFLICT (tailnet_id) DO UPDATE SET next = excluded.next",
    );
    group
        .bind(tailnet_id.cast_signed())
        .bind(i64::from(next_place));
}

/// Says whether a node of a tailnet has an address of a pair.
async fn is_used(
    on: &mut AnyConnection,
    tailnet_id: u64,
    pair: AddressPair,
) -> Result<bool, DatabaseError> {
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

#[cfg(test)]
mod tests;
