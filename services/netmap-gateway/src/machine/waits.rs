//! Bounds the requests that wait for a person to decide about a login: for each login, machine and network, and in
//! all.
//!
//! A client that lost its connection asks again on another one. So when a login or a machine has too many waiting
//! requests, the oldest ends. When a network has too many, or there are too many in all, the newest is refused.

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

/// How many requests may wait for one login, and for all logins of one machine.
const OF_LOGIN: usize = 2;
const OF_MACHINE: usize = 4;
/// How many requests may wait from one source: an IPv4 address, or what one customer has of IPv6.
const OF_SOURCE: usize = 64;
/// How many requests may wait in all.
const IN_ALL: usize = 4096;

/// All waiting requests.
#[derive(Debug)]
pub struct FollowupWaits {
    sources: Arc<Quota<Network>>,
    waiting: Mutex<WaitTable>,
}

#[derive(Debug, Default)]
struct WaitTable {
    next: u64,
    /// The waiting requests for each login and of each machine, the oldest first.
    logins: BTreeMap<LoginId, BTreeSet<u64>>,
    machines: BTreeMap<MachinePublic, BTreeSet<u64>>,
    entries: BTreeMap<u64, WaitEntry>,
}

#[derive(Debug)]
struct WaitEntry {
    login: LoginId,
    end: CancellationToken,
}

/// A waiting request; it stops waiting when this is dropped.
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
    /// Returns a table in which no request waits.
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
        let parts = Network::around(address).map(|network| (network, most_waits(network)));
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
        let entry = WaitEntry {
            login,
            end: end.clone(),
        };
        waiting.entries.insert(id, entry);
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

/// Returns how many requests may wait from a network: [`OF_SOURCE`] where the network is one customer's, more from
/// wide IPv4 networks, which have many customers.
fn most_waits(network: Network) -> usize {
    network.share_of(IN_ALL, OF_SOURCE)
}

impl WaitTable {
    /// Ends the oldest request where a login or a machine has as many as it may.
    fn make_room(&mut self, login: LoginId, machine: MachinePublic) {
        let of_login = self.logins.get(&login).filter(|ids| ids.len() >= OF_LOGIN);
        let of_machine = self
            .machines
            .get(&machine)
            .filter(|ids| ids.len() >= OF_MACHINE);
        let oldest = of_login.or(of_machine).and_then(BTreeSet::first).copied();
        let Some((id, entry)) = oldest.and_then(|id| Some((id, self.entries.remove(&id)?))) else {
            return;
        };
        entry.end.cancel();
        remove_from_index(&mut self.logins, &entry.login, id);
        remove_from_index(&mut self.machines, &machine, id);
    }
}

impl FollowupWait {
    /// Waits until a newer request has displaced this one.
    pub async fn wait_until_displaced(&self) {
        self.end.cancelled().await;
    }
}

impl Drop for FollowupWait {
    fn drop(&mut self) {
        let mut waiting = self.waits.lock_waits();
        waiting.entries.remove(&self.id);
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
