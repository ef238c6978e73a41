//! Who waits for a login to be decided: bounded for each login, machine and network, and in all. Pure but for the sign to end.
//!
//! A client that lost its connection asks again on another: so of one login or machine the oldest wait ends for the newest.
//! Strangers of one network, and all together, are refused instead.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use bowline_ids::LoginId;
use bowline_keys::MachinePublic;
use bowline_service_kit::networks::Network;
use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use crate::listener::{Quota, QuotaShare};

/// How many wait for one login, and for all logins of one machine.
const OF_LOGIN: usize = 2;
const OF_MACHINE: usize = 4;
/// How many wait from one source: an IPv4 address, or what one customer has of IPv6.
const OF_SOURCE: usize = 64;
/// How many wait in all.
const IN_ALL: usize = 4096;

/// All who wait.
#[derive(Debug)]
pub struct FollowupWaits {
    sources: Arc<Quota<Network>>,
    waiting: Mutex<WaitTable>,
}

#[derive(Debug, Default)]
struct WaitTable {
    next: u64,
    /// Those who wait for a login, and for those of a machine, the oldest first.
    logins: BTreeMap<LoginId, BTreeSet<u64>>,
    machines: BTreeMap<MachinePublic, BTreeSet<u64>>,
    places: BTreeMap<u64, WaitLimits>,
}

#[derive(Debug)]
struct WaitLimits {
    login: LoginId,
    end: CancellationToken,
}

/// One who waits; it has a place until this is dropped.
#[derive(Debug)]
pub struct FollowupWait {
    waits: Arc<FollowupWaits>,
    id: u64,
    login: LoginId,
    machine: MachinePublic,
    end: CancellationToken,
    _source: QuotaShare<Network>,
}

impl FollowupWaits {
    /// Returns nobody.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            sources: Quota::new(IN_ALL),
            waiting: Mutex::default(),
        })
    }

    /// Lets a machine wait for a login; `None` when too many wait, of its network or in all.
    pub fn begin_wait(
        self: &Arc<Self>,
        login: LoginId,
        machine: MachinePublic,
        address: IpAddr,
    ) -> Option<FollowupWait> {
        let parts = Network::around(address).map(|network| (network, most_of(network)));
        let mut waiting = self.lock_waits();
        waiting.make_room(login, machine);
        let mut source = self.sources.share(parts.into());
        if !source.grow(1) {
            return None;
        }
        let id = waiting.next;
        waiting.next += 1;
        waiting.logins.entry(login).or_default().insert(id);
        waiting.machines.entry(machine).or_default().insert(id);
        let end = CancellationToken::new();
        let place = WaitLimits {
            login,
            end: end.clone(),
        };
        waiting.places.insert(id, place);
        Some(FollowupWait {
            waits: Arc::clone(self),
            id,
            login,
            machine,
            end,
            _source: source,
        })
    }

    fn lock_waits(&self) -> MutexGuard<'_, WaitTable> {
        self.waiting.lock()
    }
}

/// Returns how many may wait from a network: as many as from one source in all networks of one customer, more in wide IPv4
/// networks, which have many.
fn most_of(network: Network) -> usize {
    network.share_of(IN_ALL, OF_SOURCE)
}

impl WaitTable {
    /// Ends the oldest where a login or a machine has as many as it may.
    fn make_room(&mut self, login: LoginId, machine: MachinePublic) {
        let of_login = self.logins.get(&login).filter(|ids| ids.len() >= OF_LOGIN);
        let of_machine = self
            .machines
            .get(&machine)
            .filter(|ids| ids.len() >= OF_MACHINE);
        let oldest = of_login.or(of_machine).and_then(BTreeSet::first).copied();
        let Some((id, place)) = oldest.and_then(|id| Some((id, self.places.remove(&id)?))) else {
            return;
        };
        place.end.cancel();
        remove_from_index(&mut self.logins, &place.login, id);
        remove_from_index(&mut self.machines, &machine, id);
    }
}

impl FollowupWait {
    /// Returns once another has taken the place.
    pub async fn wait_until_displaced(&self) {
        self.end.cancelled().await;
    }
}

impl Drop for FollowupWait {
    fn drop(&mut self) {
        let mut waiting = self.waits.lock_waits();
        waiting.places.remove(&self.id);
        let WaitTable {
            logins, machines, ..
        } = &mut *waiting;
        remove_from_index(logins, &self.login, self.id);
        remove_from_index(machines, &self.machine, self.id);
    }
}

fn remove_from_index<K: Ord>(of: &mut BTreeMap<K, BTreeSet<u64>>, key: &K, id: u64) {
    if let Some(ids) = of.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            of.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
