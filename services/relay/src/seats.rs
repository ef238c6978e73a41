//! How many connections there may be, in total and from one source.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// The connections that are taken, by source.
#[derive(Debug)]
pub(crate) struct Seats {
    total: usize,
    per_source: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// One connection's place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    source: IpAddr,
}

impl Seats {
    pub(crate) fn new(total: usize, per_source: usize) -> Arc<Self> {
        Arc::new(Self {
            total,
            per_source,
            taken: Mutex::default(),
        })
    }

    /// Takes a place for a connection from `address`, unless all are taken.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let source = source(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let from_source = taken.by_source.get(&source).copied().unwrap_or(0);
        if taken.total >= self.total || from_source >= self.per_source {
            return None;
        }
        taken.total += 1;
        taken.by_source.insert(source, from_source + 1);
        Some(Seat {
            seats: self.clone(),
            source,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self
            .seats
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        taken.total -= 1;
        if let Some(count) = taken.by_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                taken.by_source.remove(&self.source);
            }
        }
    }
}

/// Returns what counts as one source: an IPv4 address, or an IPv6 /64, which one subscriber has whole.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_source_can_not_take_the_places_of_others() {
        let seats = Seats::new(3, 2);
        let first = seats.take(ip("192.0.2.1"));
        let _second = seats.take(ip("::ffff:192.0.2.1")).unwrap();
        assert!(seats.take(ip("192.0.2.1")).is_none());
        let _third = seats.take(ip("192.0.2.2")).unwrap();
        assert!(seats.take(ip("192.0.2.3")).is_none(), "all three are taken");
        drop(first);
        assert!(
            seats.take(ip("192.0.2.3")).is_some(),
            "a place given back can be taken"
        );
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_source() {
        let seats = Seats::new(9, 1);
        let _held = seats.take(ip("2001:db8::1")).unwrap();
        assert!(seats.take(ip("2001:db8::ffff:2")).is_none());
        assert!(seats.take(ip("2001:db8:0:1::1")).is_some());
    }

    #[test]
    fn sources_without_connections_are_forgotten() {
        let seats = Seats::new(9, 9);
        drop(seats.take(ip("192.0.2.1")));
        assert!(seats.taken.lock().unwrap().by_source.is_empty());
    }
}
