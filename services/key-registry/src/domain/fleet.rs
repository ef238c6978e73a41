//! What the leases of gateways say of their clients, and when that is to be believed.
//!
//! A lease that is over means one of three things: the gateway is gone, it can not reach the registry, or the registry
//! can not write. Only the first ends sessions. So what most gateways suffer together is not held against their nodes:
//!
//! ```text
//! no lease is live, some are over        ─▶ nothing counts: renewals may not be recorded at all
//! more over, with nodes, than are live   ─▶ reported ends count, leases that are over do not
//! otherwise                              ─▶ both count
//! ```

use bowline_proto::key_registry::v1::GatewayState;
use chrono::{DateTime, TimeDelta, Utc};

/// A gateway that renews each second and was silent for longer than this, while the next on its address renewed, is
/// dead: one that drains goes on renewing.
const SILENCE: TimeDelta = TimeDelta::seconds(2);
/// After a pause this long gateways may not have been able to renew their leases.
const PAUSE: TimeDelta = TimeDelta::seconds(4);
/// How long gateways are given to renew their leases, and to report their sessions again, after time began to count.
const FORGIVENESS: TimeDelta = TimeDelta::seconds(8);
/// How long nodes are held online before that is told as an alarm: a start takes a moment.
const ALARM: TimeDelta = TimeDelta::seconds(5);

/// A gateway process, from its start to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incarnation {
    /// Its name, random.
    pub gateway: String,
    /// Where it listens, so named that one process at a time can have it; empty when that is not known.
    pub slot: String,
    /// When the registry heard of it first.
    pub known_at: DateTime<Utc>,
    /// When its lease ends, or ended.
    pub lease_end: DateTime<Utc>,
    /// How long its clients may hold on to it after that.
    pub staleness: TimeDelta,
    /// Whether its end is recorded.
    pub has_left: bool,
    /// Whether some node counts as online there.
    pub holds_nodes: bool,
}

impl Incarnation {
    /// Says whether its lease is live.
    #[must_use]
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        !self.has_left && self.lease_end >= now
    }

    /// Says whether no client can hold on to it any more: it left, another process has its place, or it serves nobody
    /// for so long without a lease.
    #[must_use]
    pub fn is_gone(&self, fleet: &[Self], now: DateTime<Utc>) -> bool {
        self.has_left
            || self
                .lease_end
                .checked_add_signed(self.staleness)
                .is_some_and(|end| end < now)
            || fleet.iter().any(|other| other.has_replaced(self))
    }

    fn has_replaced(&self, before: &Self) -> bool {
        !self.slot.is_empty()
            && self.slot == before.slot
            && self.known_at > before.known_at
            && self.lease_end >= before.lease_end + SILENCE
    }

    fn is_over(&self, fleet: &[Self], now: DateTime<Utc>) -> bool {
        !self.is_live(now) && !self.is_gone(fleet, now)
    }

    /// Says how it stands to a revision of a tailnet's log; `None` when none of the tailnet's clients can be there.
    #[must_use]
    pub fn state(
        &self,
        applied: Applied,
        revision: u64,
        fleet: &[Self],
        now: DateTime<Utc>,
    ) -> Option<GatewayState> {
        if self.is_gone(fleet, now) {
            return None;
        }
        let is_applied = match applied {
            Applied::Through(applied) => applied >= revision,
            // It learns the state from its first snapshot.
            Applied::NotServed => true,
            Applied::NotTold => false,
        };
        match (self.is_live(now), is_applied) {
            (true, true) => Some(GatewayState::Applied),
            (true, false) => Some(GatewayState::Lagging),
            // Without a view of the tailnet it admits none of its nodes.
            (false, _) if applied == Applied::NotServed => None,
            (false, _) => Some(GatewayState::Stale),
        }
    }
}

/// How far a gateway has applied a tailnet's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Up to a revision.
    Through(u64),
    /// It does not serve the tailnet.
    NotServed,
    /// It has not told all that it serves yet.
    NotTold,
}

/// What counts of what is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belief {
    Nothing,
    ReportedEnds,
    Leases,
}

fn believe(fleet: &[Incarnation], now: DateTime<Utc>) -> Belief {
    let live = fleet.iter().filter(|one| one.is_live(now)).count();
    let over: Vec<_> = fleet.iter().filter(|one| one.is_over(fleet, now)).collect();
    if live == 0 && !over.is_empty() {
        return Belief::Nothing;
    }
    if over.iter().filter(|one| one.holds_nodes).count() > live {
        return Belief::ReportedEnds;
    }
    Belief::Leases
}

/// Since when time counts: as long as nothing hindered gateways to renew their leases and to report.
#[derive(Clone, Debug, Default)]
pub struct Counting {
    swept: Option<DateTime<Utc>>,
    ends_since: Option<DateTime<Utc>>,
    leases_since: Option<DateTime<Utc>>,
    held_since: Option<DateTime<Utc>>,
    is_alarmed: bool,
}

/// What a look at the fleet has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// Nodes are held online for some time now.
    Begins,
    /// They are no more.
    Ends,
}

impl Counting {
    /// Notes how the fleet stands.
    pub fn note(&mut self, fleet: &[Incarnation], now: DateTime<Utc>) -> Option<Alarm> {
        let swept = self.swept.replace(now);
        if swept.is_none_or(|swept| now < swept || now - swept > PAUSE) {
            (self.ends_since, self.leases_since) = (None, None);
        }
        let belief = believe(fleet, now);
        let since =
            |before: Option<DateTime<Utc>>, counts: bool| counts.then(|| before.unwrap_or(now));
        self.ends_since = since(self.ends_since, belief != Belief::Nothing);
        self.leases_since = since(self.leases_since, belief == Belief::Leases);
        self.held_since = since(self.held_since, belief != Belief::Leases);
        let is_alarmed = self.held_since.is_some_and(|since| now - since >= ALARM);
        match (
            std::mem::replace(&mut self.is_alarmed, is_alarmed),
            is_alarmed,
        ) {
            (false, true) => Some(Alarm::Begins),
            (true, false) => Some(Alarm::Ends),
            _ => None,
        }
    }

    /// Returns since when the ends of sessions that gateways reported count.
    #[must_use]
    pub fn ends_since(&self) -> Option<DateTime<Utc>> {
        self.forgiven(self.ends_since)
    }

    /// Returns since when leases that are over count.
    #[must_use]
    pub fn leases_since(&self) -> Option<DateTime<Utc>> {
        self.forgiven(self.leases_since)
    }

    fn forgiven(&self, since: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        let now = self.swept?;
        since.filter(|since| now - *since >= FORGIVENESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    /// Returns a gateway with nodes that renewed its lease last at a time.
    fn renewed(gateway: &str, seconds: i64) -> Incarnation {
        Incarnation {
            gateway: gateway.to_owned(),
            slot: String::new(),
            known_at: at(0),
            lease_end: at(seconds + 5),
            staleness: TimeDelta::seconds(3600),
            has_left: false,
            holds_nodes: true,
        }
    }

    #[test]
    fn what_most_gateways_suffer_together_is_not_held_against_their_nodes() {
        let fleet = |live: usize, over: usize| {
            let live = (0..live).map(|number| renewed(&format!("live{number}"), 100));
            let over = (0..over).map(|number| renewed(&format!("over{number}"), 90));
            live.chain(over).collect::<Vec<_>>()
        };
        for (live, over, expected) in [
            (0, 0, Belief::Leases),
            (0, 1, Belief::Nothing),
            (0, 20, Belief::Nothing),
            (1, 1, Belief::Leases),
            (1, 2, Belief::ReportedEnds),
            (10, 10, Belief::Leases),
            (9, 11, Belief::ReportedEnds),
            (19, 1, Belief::Leases),
        ] {
            assert_eq!(
                believe(&fleet(live, over), at(101)),
                expected,
                "{live} {over}"
            );
        }
        // Those whose nodes have all come back elsewhere count no more, nor those that are gone.
        let mut some = fleet(1, 5);
        for one in &mut some[1..4] {
            one.holds_nodes = false;
        }
        some[4].has_left = true;
        assert_eq!(believe(&some, at(101)), Belief::Leases);
    }

    #[test]
    fn time_begins_to_count_again_after_a_hold_and_after_a_pause() {
        let mut counting = Counting::default();
        for second in 0..=8 {
            assert_eq!(counting.leases_since(), None, "{second}");
            assert_eq!(counting.note(&[renewed("g", second)], at(second)), None);
        }
        assert_eq!(counting.leases_since(), Some(at(0)));
        // The lease is over from second 14 on, and nobody else has one.
        let mut alarms = Vec::new();
        for second in 9..=30 {
            alarms.extend(counting.note(&[renewed("g", 8)], at(second)));
        }
        assert_eq!(
            (counting.ends_since(), counting.leases_since()),
            (None, None)
        );
        for second in 31..=39 {
            alarms.extend(counting.note(&[renewed("g", second)], at(second)));
        }
        assert_eq!(alarms, [Alarm::Begins, Alarm::Ends]);
        assert_eq!(counting.leases_since(), Some(at(31)));
        counting.note(&[renewed("g", 60)], at(60));
        assert_eq!(counting.leases_since(), None, "it did not look for long");
    }

    #[test]
    fn receipt_names_only_gateways_that_clients_may_hold_on_to() {
        let state = |fleet: &[Incarnation], applied, seconds| {
            fleet[0].state(applied, 7, fleet, at(seconds))
        };
        let dead = [renewed("dead", 0)];
        let served = Applied::Through(9);
        assert_eq!(state(&dead, served, 3), Some(GatewayState::Applied));
        assert_eq!(
            state(&dead, Applied::Through(6), 3),
            Some(GatewayState::Lagging)
        );
        assert_eq!(
            state(&dead, Applied::NotServed, 3),
            Some(GatewayState::Applied)
        );
        assert_eq!(
            state(&dead, Applied::NotTold, 3),
            Some(GatewayState::Lagging)
        );
        // Partitioned, as far as anybody knows.
        assert_eq!(state(&dead, served, 6), Some(GatewayState::Stale));
        assert_eq!(state(&dead, Applied::NotTold, 6), Some(GatewayState::Stale));
        assert_eq!(state(&dead, Applied::NotServed, 6), None);
        assert_eq!(state(&dead, served, 3605), Some(GatewayState::Stale));
        assert_eq!(
            state(&dead, served, 3606),
            None,
            "it admits nobody so long without a lease"
        );
        let after = |slot: &str, seconds| Incarnation {
            slot: slot.to_owned(),
            known_at: at(1),
            ..renewed("next", seconds)
        };
        let placed = |slot: &str| Incarnation {
            slot: slot.to_owned(),
            ..renewed("dead", 0)
        };
        // The next process on its address: it is dead once it is silent, and drains while it renews.
        assert_eq!(state(&[placed("a"), after("a", 2)], served, 3), None);
        assert!(state(&[placed("a"), after("a", 1)], served, 3).is_some());
        for (slot, next) in [("a", "b"), ("", "")] {
            assert!(state(&[placed(slot), after(next, 9)], served, 9).is_some());
        }
        // The older never takes the place of the newer.
        let older = Incarnation {
            known_at: at(0),
            ..after("a", 9)
        };
        assert!(state(&[placed("a"), older], served, 9).is_some());
    }
}
