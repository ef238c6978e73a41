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
const LONGEST_PAUSE: TimeDelta = TimeDelta::seconds(4);
/// How long gateways are given to renew their leases, and to report their sessions again, after the registry
/// has started, or has paused.
const FORGIVENESS: TimeDelta = TimeDelta::seconds(8);
/// How long nodes are kept online in spite of ended leases before an alarm is raised: a start takes a moment.
const ALARM_DELAY: TimeDelta = TimeDelta::seconds(5);

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
    pub fn gateway_state(
        &self,
        applied: AppliedRevision,
        revision: u64,
        fleet: &[Self],
        now: DateTime<Utc>,
    ) -> Option<GatewayState> {
        if self.is_gone(fleet, now) {
            return None;
        }
        let is_applied = match applied {
            AppliedRevision::Through(applied) => applied >= revision,
            // It learns the state from its first snapshot.
            AppliedRevision::NotServed => true,
            AppliedRevision::NotReported => false,
        };
        match (self.is_live(now), is_applied) {
            (true, true) => Some(GatewayState::Applied),
            (true, false) => Some(GatewayState::Lagging),
            // Without a view of the tailnet it admits none of its nodes.
            (false, _) if applied == AppliedRevision::NotServed => None,
            (false, _) => Some(GatewayState::Stale),
        }
    }
}

/// How far a gateway has applied a tailnet's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppliedRevision {
    /// Up to a revision.
    Through(u64),
    /// It does not serve the tailnet.
    NotServed,
    /// It has not yet reported all tailnets that it serves.
    NotReported,
}

/// Which records of ends are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TrustedRecords {
    Nothing,
    ReportedEnds,
    Leases,
}

fn judge_fleet(fleet: &[Incarnation], now: DateTime<Utc>) -> TrustedRecords {
    let live = fleet.iter().filter(|one| one.is_live(now)).count();
    let over: Vec<_> = fleet.iter().filter(|one| one.is_over(fleet, now)).collect();
    if live == 0 && !over.is_empty() {
        return TrustedRecords::Nothing;
    }
    if over.iter().filter(|one| one.holds_nodes).count() > live {
        return TrustedRecords::ReportedEnds;
    }
    TrustedRecords::Leases
}

/// Since when ended sessions and leases count. Both begin to count anew after a time in which gateways may not have been
/// able to renew their leases or to report.
#[derive(Clone, Debug, Default)]
pub struct FleetHealth {
    /// When the fleet was looked at last.
    swept: Option<DateTime<Utc>>,
    /// Since when reported ends of sessions count.
    ends_trusted_since: Option<DateTime<Utc>>,
    /// Since when ended leases count.
    leases_trusted_since: Option<DateTime<Utc>>,
    /// Since when nodes are kept online in spite of ended leases.
    held_since: Option<DateTime<Utc>>,
    is_alarmed: bool,
}

/// What a look at the fleet has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FleetAlarm {
    /// Nodes have been kept online for some time in spite of ended leases.
    Begins,
    /// That is over.
    Ends,
}

impl FleetHealth {
    /// Takes in the state of all gateways, at each sweep; says whether an alarm begins or ends.
    pub fn observe_fleet(
        &mut self,
        fleet: &[Incarnation],
        now: DateTime<Utc>,
    ) -> Option<FleetAlarm> {
        let swept = self.swept.replace(now);
        if swept.is_none_or(|swept| now < swept || now - swept > LONGEST_PAUSE) {
            (self.ends_trusted_since, self.leases_trusted_since) = (None, None);
        }
        let belief = judge_fleet(fleet, now);
        let since =
            |before: Option<DateTime<Utc>>, counts: bool| counts.then(|| before.unwrap_or(now));
        self.ends_trusted_since = since(self.ends_trusted_since, belief != TrustedRecords::Nothing);
        self.leases_trusted_since =
            since(self.leases_trusted_since, belief == TrustedRecords::Leases);
        self.held_since = since(self.held_since, belief != TrustedRecords::Leases);
        let is_alarmed = self
            .held_since
            .is_some_and(|since| now - since >= ALARM_DELAY);
        match (
            std::mem::replace(&mut self.is_alarmed, is_alarmed),
            is_alarmed,
        ) {
            (false, true) => Some(FleetAlarm::Begins),
            (true, false) => Some(FleetAlarm::Ends),
            _ => None,
        }
    }

    /// Returns since when the ends of sessions that gateways reported count.
    #[must_use]
    pub fn ends_trusted_since(&self) -> Option<DateTime<Utc>> {
        self.after_forgiveness(self.ends_trusted_since)
    }

    /// Returns since when leases that are over count.
    #[must_use]
    pub fn leases_trusted_since(&self) -> Option<DateTime<Utc>> {
        self.after_forgiveness(self.leases_trusted_since)
    }

    fn after_forgiveness(&self, since: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
        let now = self.swept?;
        since.filter(|since| now - *since >= FORGIVENESS)
    }
}

#[cfg(test)]
mod tests;
