//! How much of something all sources may hold together, and each.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// A bounded amount that sources share.
#[derive(Debug)]
pub struct Quota {
    all: usize,
    each: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    each: BTreeMap<IpAddr, usize>,
}

/// What one holder has of a quota, given back when dropped.
#[derive(Debug)]
pub struct Share {
    quota: Arc<Quota>,
    source: IpAddr,
    amount: usize,
}

impl Quota {
    /// Returns a quota of `all`, of which one source holds at most `each`.
    pub fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self {
            all,
            each,
            held: Mutex::default(),
        })
    }

    /// Returns a share of nothing yet.
    pub fn share(self: &Arc<Self>, address: IpAddr) -> Share {
        Share {
            quota: Arc::clone(self),
            source: source(address),
            amount: 0,
        }
    }
}

impl Share {
    /// Takes more; `false` when there is not as much, and then nothing is taken.
    pub fn grow(&mut self, more: usize) -> bool {
        let mut held = self
            .quota
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let of_source = held.each.get(&self.source).copied().unwrap_or_default();
        if held.all + more > self.quota.all || of_source + more > self.quota.each {
            return false;
        }
        held.all += more;
        held.each.insert(self.source, of_source + more);
        self.amount += more;
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self
            .quota
            .held
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        held.all -= self.amount;
        if let Some(of_source) = held.each.get_mut(&self.source) {
            *of_source -= self.amount;
            if *of_source == 0 {
                held.each.remove(&self.source);
            }
        }
    }
}

/// Returns what counts as one source: an IPv4 address, or the /64 that one customer is given.
pub(super) fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            Ipv6Addr::from(network).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_can_not_take_the_share_of_another() {
        let quota = Quota::new(10, 4);
        let share = |text: &str| quota.share(text.parse().unwrap());
        let mut greedy = share("192.0.2.1");
        assert!(greedy.grow(3) && greedy.grow(1) && !greedy.grow(1));
        assert!(
            !share("::ffff:192.0.2.1").grow(1),
            "the same in another form"
        );
        let mut other = share("192.0.2.2");
        assert!(other.grow(4));
        let mut last = share("192.0.2.3");
        assert!(!last.grow(3), "all together have 10");
        assert!(last.grow(2), "a refusal takes nothing");
        drop((greedy, other, last));
        assert!(share("192.0.2.1").grow(4), "what is dropped is given back");
        assert!(quota.held.lock().unwrap().each.is_empty());
    }

    #[test]
    fn addresses_of_one_network_are_one_source() {
        let quota = Quota::new(10, 1);
        let share = |text: &str| quota.share(text.parse().unwrap());
        let mut one = share("2001:db8::1");
        assert!(one.grow(1));
        assert!(!share("2001:db8::ffff").grow(1));
        assert!(share("2001:db8:0:1::1").grow(1));
    }
}
