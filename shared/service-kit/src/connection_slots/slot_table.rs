//! Who has a slot, and who goes when there is none left. Pure: what is decided is told by number.

use std::{collections::BTreeMap, net::IpAddr};

use super::{SlotHolder, SlotLimits, known::KnownTable, strangers::StrangerTable};
use crate::networks::Network;

/// The part of all slots that those who are known may have from one source.
const KNOWN_OF_ONE: usize = 2;
/// The part of all slots that stays free of those who are known: where they are proven to be known.
const STRANGERS_OF_ALL: usize = 8;
/// The least share of strangers of one source, where there are few slots.
const LEAST_SHARE: usize = 16;

/// All slots. `K` is what makes somebody known.
#[derive(Debug)]
pub(super) struct SlotTable<K: SlotHolder> {
    limits: SlotLimits,
    next: u64,
    sitters: BTreeMap<u64, SlotEntry<K>>,
    strangers: StrangerTable,
    known: KnownTable<K>,
    /// Those of them that are from one source.
    known_from: BTreeMap<Network, KnownTable<K>>,
    /// How many were told to go and have not gone.
    leaving: usize,
}

#[derive(Debug)]
struct SlotEntry<K> {
    /// `None`: not known, as of a proxy that speaks for others.
    address: Option<IpAddr>,
    holder: Option<K>,
    is_leaving: bool,
}

/// Those who are known have all the slots they may have, and nobody of them has more than the newcomer.
struct NoRoom;

/// Somebody got a slot.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SlotGrant {
    pub(super) id: u64,
    /// Who has to go for it.
    pub(super) displaced: Option<u64>,
}

impl<K: SlotHolder> SlotTable<K> {
    pub(super) fn new(limits: SlotLimits) -> Self {
        Self {
            limits,
            next: 0,
            sitters: BTreeMap::new(),
            strangers: StrangerTable::default(),
            known: KnownTable::default(),
            known_from: BTreeMap::new(),
            leaving: 0,
        }
    }

    /// Returns how many slots are held, those of people told to go included.
    pub(super) fn count_slots(&self) -> usize {
        self.sitters.len()
    }

    /// Gives a slot to a newcomer: a stranger has to go when the share of its source or all slots are taken.
    /// `None`: all are taken by those who stay.
    pub(super) fn add_connection(&mut self, address: Option<IpAddr>) -> Option<SlotGrant> {
        let mut displaced = address.and_then(|address| self.find_excess_stranger(address));
        if displaced.is_none() && self.sitters.len() - self.leaving >= self.limits.all {
            displaced = Some(self.strangers.first_to_go(Network::ALL)?);
        }
        if let Some(displaced) = displaced {
            self.send_away(displaced);
        }
        let id = self.next;
        self.next += 1;
        let sitter = SlotEntry {
            address,
            holder: None,
            is_leaving: false,
        };
        self.sitters.insert(id, sitter);
        if let Some(address) = address {
            self.strangers.add(id, address);
        }
        Some(SlotGrant { id, displaced })
    }

    /// Notes where somebody comes from in truth; returns who has to go for it.
    pub(super) fn set_address(&mut self, id: u64, address: IpAddr) -> Option<u64> {
        let sitter = self.sitters.get(&id)?;
        if sitter.address == Some(address) || sitter.is_leaving || sitter.holder.is_some() {
            return None;
        }
        self.strangers.remove(id);
        let displaced = self.find_excess_stranger(address);
        if let Some(displaced) = displaced {
            self.send_away(displaced);
        }
        self.sitters.get_mut(&id)?.address = Some(address);
        self.strangers.add(id, address);
        displaced
    }

    /// Notes that somebody is known; returns whether it stays now, and who has to go for it: the oldest of the same
    /// holder, of whom there are too many, or of whoever has most.
    pub(super) fn mark_known(&mut self, id: u64, holder: K) -> (bool, Option<u64>) {
        let Some(sitter) = self.sitters.get(&id) else {
            return (false, None);
        };
        if sitter.is_leaving {
            return (false, None);
        }
        if sitter.holder.as_ref() == Some(&holder) {
            return (true, None);
        }
        self.mark_stranger(id);
        let network = self.sitters.get(&id).and_then(|sitter| sitter.address);
        let network = network.map(known_network);
        let Ok(displaced) = self.room_for(&holder, network) else {
            return (false, None);
        };
        if let Some(displaced) = displaced {
            self.send_away(displaced);
        }
        if let Some(network) = network {
            let from = self.known_from.entry(network).or_default();
            from.add(id, &holder);
        }
        self.strangers.remove(id);
        self.known.add(id, &holder);
        if let Some(sitter) = self.sitters.get_mut(&id) {
            sitter.holder = Some(holder);
        }
        (true, displaced)
    }

    /// Notes that somebody is a stranger again, and one of the oldest.
    pub(super) fn mark_stranger(&mut self, id: u64) {
        let Some(sitter) = self.sitters.get_mut(&id) else {
            return;
        };
        let Some(holder) = sitter.holder.take() else {
            return;
        };
        let (address, is_leaving) = (sitter.address, sitter.is_leaving);
        self.known.remove(id, &holder);
        let Some(address) = address else {
            return;
        };
        let network = known_network(address);
        if let Some(from) = self.known_from.get_mut(&network) {
            from.remove(id, &holder);
            if from.count() == 0 {
                self.known_from.remove(&network);
            }
        }
        if !is_leaving {
            self.strangers.add(id, address);
        }
    }

    /// Frees a slot.
    pub(super) fn remove_connection(&mut self, id: u64) {
        self.mark_stranger(id);
        self.strangers.remove(id);
        if self
            .sitters
            .remove(&id)
            .is_some_and(|sitter| sitter.is_leaving)
        {
            self.leaving -= 1;
        }
    }

    /// Returns who has to go, if anybody, so that a holder has one more slot among those who are known.
    fn room_for(&self, holder: &K, network: Option<Network>) -> Result<Option<u64>, NoRoom> {
        let all = self.limits.all;
        let from = network.and_then(|network| self.known_from.get(&network));
        let full = from.filter(|from| from.count() >= all.div_ceil(KNOWN_OF_ONE));
        if self.known.count_of(holder) >= self.limits.of_one_holder {
            let oldest = full.unwrap_or(&self.known).oldest_of(holder);
            return oldest.map(Some).ok_or(NoRoom);
        }
        // Whoever leaves a source leaves all.
        let most = all - all / STRANGERS_OF_ALL;
        let full = full.or((self.known.count() >= most).then_some(&self.known));
        match full {
            Some(full) => full.first_to_go_for(holder).map(Some).ok_or(NoRoom),
            None => Ok(None),
        }
    }

    /// Returns who has to go so that another stranger of this address has room in the share of its networks.
    fn find_excess_stranger(&self, address: IpAddr) -> Option<u64> {
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
        self.mark_stranger(id);
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
    match wide.first_address() {
        IpAddr::V4(_) => narrow,
        IpAddr::V6(_) => wide,
    }
}

#[cfg(test)]
mod tests;
