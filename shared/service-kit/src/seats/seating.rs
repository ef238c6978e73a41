//! Who has a seat, and who goes when there is none left. Pure: what is decided is told by number.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{SeatLimits, crowd::Crowd};
use crate::networks::Network;

/// The part of all seats that those who are known may have from one source.
const KNOWN_OF_ONE: usize = 2;
/// The least share of strangers of one source, where there are few seats.
const LEAST_SHARE: usize = 16;

/// All seats. `K` is what makes somebody known.
#[derive(Debug)]
pub(super) struct Seating<K> {
    limits: SeatLimits,
    next: u64,
    sitters: BTreeMap<u64, Sitter<K>>,
    strangers: Crowd,
    /// The seats of each who is known, the oldest first.
    known: BTreeMap<K, BTreeSet<u64>>,
    /// How many of them are from one source.
    known_from: BTreeMap<Network, usize>,
    /// How many were told to go and have not gone.
    leaving: usize,
}

#[derive(Debug)]
struct Sitter<K> {
    /// `None`: not known, as of a proxy that speaks for others.
    address: Option<IpAddr>,
    holder: Option<K>,
    is_leaving: bool,
}

/// Somebody got a seat.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entered {
    pub(super) id: u64,
    /// Who has to go for it.
    pub(super) displaced: Option<u64>,
}

impl<K: Ord + Clone> Seating<K> {
    pub(super) fn new(limits: SeatLimits) -> Self {
        Self {
            limits,
            next: 0,
            sitters: BTreeMap::new(),
            strangers: Crowd::default(),
            known: BTreeMap::new(),
            known_from: BTreeMap::new(),
            leaving: 0,
        }
    }

    /// Returns how many seats are held, those of people told to go included.
    pub(super) fn held(&self) -> usize {
        self.sitters.len()
    }

    /// Gives a seat to a newcomer: a stranger has to go when the share of its source or all seats are taken.
    /// `None`: all are taken by those who stay.
    pub(super) fn enter(&mut self, address: Option<IpAddr>) -> Option<Entered> {
        let mut displaced = address.and_then(|address| self.crowded_out(address));
        if displaced.is_none() && self.sitters.len() - self.leaving >= self.limits.all {
            displaced = Some(self.strangers.first_to_go(Network::ALL)?);
        }
        if let Some(displaced) = displaced {
            self.send_away(displaced);
        }
        let id = self.next;
        self.next += 1;
        let sitter = Sitter {
            address,
            holder: None,
            is_leaving: false,
        };
        self.sitters.insert(id, sitter);
        if let Some(address) = address {
            self.strangers.add(id, address);
        }
        Some(Entered { id, displaced })
    }

    /// Notes where somebody comes from in truth; returns who has to go for it.
    pub(super) fn relocate(&mut self, id: u64, address: IpAddr) -> Option<u64> {
        let sitter = self.sitters.get(&id)?;
        if sitter.address == Some(address) || sitter.is_leaving || sitter.holder.is_some() {
            return None;
        }
        self.strangers.remove(id);
        let displaced = self.crowded_out(address);
        if let Some(displaced) = displaced {
            self.send_away(displaced);
        }
        self.sitters.get_mut(&id)?.address = Some(address);
        self.strangers.add(id, address);
        displaced
    }

    /// Notes that somebody is known; returns whether it stays now, and who has to go for it: the oldest of the same
    /// holder, of whom there are too many.
    pub(super) fn settle(&mut self, id: u64, holder: K) -> (bool, Option<u64>) {
        let Some(sitter) = self.sitters.get(&id) else {
            return (false, None);
        };
        if sitter.is_leaving {
            return (false, None);
        }
        if sitter.holder.as_ref() == Some(&holder) {
            return (true, None);
        }
        self.unsettle(id);
        let network = self.sitters.get(&id).and_then(|sitter| sitter.address);
        if let Some(network) = network.map(known_network) {
            let from = self.known_from.entry(network).or_default();
            if *from >= self.limits.all.div_ceil(KNOWN_OF_ONE) {
                return (false, None);
            }
            *from += 1;
        }
        self.strangers.remove(id);
        if let Some(sitter) = self.sitters.get_mut(&id) {
            sitter.holder = Some(holder.clone());
        }
        let seats = self.known.entry(holder).or_default();
        seats.insert(id);
        let excess = (seats.len() > self.limits.of_one_holder).then(|| seats.first().copied());
        let displaced = excess.flatten();
        if let Some(displaced) = displaced {
            self.send_away(displaced);
        }
        (true, displaced)
    }

    /// Notes that somebody is a stranger again, and one of the oldest.
    pub(super) fn unsettle(&mut self, id: u64) {
        let Some(sitter) = self.sitters.get_mut(&id) else {
            return;
        };
        let Some(holder) = sitter.holder.take() else {
            return;
        };
        let (address, is_leaving) = (sitter.address, sitter.is_leaving);
        if let Some(seats) = self.known.get_mut(&holder) {
            seats.remove(&id);
            if seats.is_empty() {
                self.known.remove(&holder);
            }
        }
        let Some(address) = address else {
            return;
        };
        let network = known_network(address);
        if let Some(from) = self.known_from.get_mut(&network) {
            *from -= 1;
            if *from == 0 {
                self.known_from.remove(&network);
            }
        }
        if !is_leaving {
            self.strangers.add(id, address);
        }
    }

    /// Frees a seat.
    pub(super) fn leave(&mut self, id: u64) {
        self.unsettle(id);
        self.strangers.remove(id);
        if self
            .sitters
            .remove(&id)
            .is_some_and(|sitter| sitter.is_leaving)
        {
            self.leaving -= 1;
        }
    }

    /// Returns who has to go so that another stranger of this address has room in the share of its networks.
    fn crowded_out(&self, address: IpAddr) -> Option<u64> {
        let [wide, middle, narrow] = Network::around(address);
        let is_full = |network: &Network| {
            let share = network.share_of(self.limits.all, LEAST_SHARE);
            self.strangers.count(*network) >= share
        };
        // Whoever leaves a narrow network leaves the wider ones too.
        let full = [narrow, middle, wide].into_iter().find(is_full)?;
        self.strangers.first_to_go(full)
    }

    fn send_away(&mut self, id: u64) {
        self.unsettle(id);
        self.strangers.remove(id);
        if let Some(sitter) = self.sitters.get_mut(&id)
            && !sitter.is_leaving
        {
            sitter.is_leaving = true;
            self.leaving += 1;
        }
    }
}

/// Returns what counts as one source of those who are known: an office behind an IPv4 address, a customer's IPv6 network.
fn known_network(address: IpAddr) -> Network {
    let [wide, _, narrow] = Network::around(address);
    match wide.first() {
        IpAddr::V4(_) => narrow,
        IpAddr::V6(_) => wide,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seating(all: usize) -> Seating<&'static str> {
        Seating::new(SeatLimits {
            all,
            of_one_holder: 2,
        })
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    /// Enters once and returns who had to go.
    fn displaced(seating: &mut Seating<&'static str>, address: &str) -> Option<u64> {
        seating.enter(ip(address)).expect("a seat").displaced
    }

    #[test]
    fn newcomer_displaces_the_oldest_stranger_of_the_fullest_network() {
        let mut seating = seating(6);
        for address in [
            "192.0.2.1",
            "192.0.2.1",
            "192.0.2.1",
            "198.51.100.1",
            "198.51.100.1",
            "203.0.113.1",
        ] {
            assert_eq!(displaced(&mut seating, address), None);
        }
        assert_eq!(displaced(&mut seating, "203.0.114.1"), Some(0));
        assert_eq!(
            displaced(&mut seating, "203.0.115.1"),
            Some(1),
            "two of each now: this network grew longest ago"
        );
    }

    #[test]
    fn those_who_are_known_stay_and_nobody_enters_when_all_are() {
        let mut seating = seating(2);
        for holder in ["a", "b"] {
            let entered = seating.enter(ip("192.0.2.1")).expect("a seat");
            let settled = seating.settle(entered.id, holder);
            assert_eq!(settled.1, None);
        }
        assert!(
            seating.enter(ip("198.51.100.1")).is_some(),
            "one source has half: the other is a stranger yet"
        );
        let settled = seating.settle(2, "c");
        assert_eq!(settled, (true, None));
        assert!(seating.enter(ip("203.0.113.1")).is_none());
        seating.leave(0);
        seating.leave(1);
        assert!(seating.enter(ip("203.0.113.1")).is_some());
    }

    #[test]
    fn share_of_one_source_is_displaced_before_others_are() {
        let mut seating = seating(1024);
        for _ in 0..16 {
            assert_eq!(displaced(&mut seating, "192.0.2.1"), None);
        }
        assert_eq!(displaced(&mut seating, "192.0.2.1"), Some(0));
        assert_eq!(displaced(&mut seating, "192.0.2.2"), None);
        for number in 0..16 {
            seating
                .enter(ip(&format!("2001:db8:0:{number}::1")))
                .expect("a seat");
        }
        assert_eq!(
            displaced(&mut seating, "2001:db8:0:ff00::1"),
            Some(18),
            "one /48 is one source"
        );
    }

    #[test]
    fn holder_with_too_many_seats_loses_its_oldest() {
        let mut seating = seating(100);
        let ids: Vec<u64> = (0..3)
            .map(|_| seating.enter(ip("192.0.2.1")).expect("a seat").id)
            .collect();
        assert_eq!(seating.settle(ids[0], "a"), (true, None));
        assert_eq!(seating.settle(ids[1], "a"), (true, None));
        assert_eq!(
            seating.settle(ids[1], "a"),
            (true, None),
            "once more is nothing new"
        );
        assert_eq!(seating.settle(ids[2], "a"), (true, Some(ids[0])));
        assert_eq!(
            seating.settle(ids[0], "a"),
            (false, None),
            "it is on its way out"
        );
    }

    #[test]
    fn whoever_is_a_stranger_again_is_the_first_to_go() {
        let mut seating = seating(2);
        let known = seating.enter(ip("192.0.2.1")).expect("a seat").id;
        assert!(seating.settle(known, "a").0);
        let stranger = seating.enter(ip("192.0.2.1")).expect("a seat").id;
        seating.unsettle(known);
        assert_eq!(displaced(&mut seating, "192.0.2.1"), Some(known));
        assert_eq!(displaced(&mut seating, "192.0.2.1"), Some(stranger));
    }

    #[test]
    fn proxy_takes_nobodys_share_until_its_client_is_known() {
        let mut seating = seating(1024);
        let ids: Vec<u64> = (0..20)
            .map(|_| seating.enter(None).expect("a seat").id)
            .collect();
        for id in &ids[..16] {
            assert_eq!(seating.relocate(*id, ip("192.0.2.1").expect("one")), None);
        }
        assert_eq!(
            seating.relocate(ids[16], ip("192.0.2.1").expect("one")),
            Some(ids[0])
        );
        assert_eq!(
            seating.relocate(ids[17], ip("192.0.2.2").expect("one")),
            None
        );
    }

    #[test]
    fn everything_is_forgotten_of_those_who_left() {
        let mut seating = seating(4);
        for number in 0..40 {
            let id = seating.enter(ip("192.0.2.1")).expect("a seat").id;
            if number % 2 == 0 {
                seating.settle(id, "a");
            }
        }
        (0..40).for_each(|id| seating.leave(id));
        assert!(seating.known.is_empty() && seating.known_from.is_empty());
        assert_eq!((seating.held(), seating.leaving), (0, 0));
        assert_eq!(seating.strangers.count(Network::ALL), 0);
    }
}
