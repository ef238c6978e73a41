//! What every handler shares.

use std::sync::Arc;

use bowline_clock::SharedClock;
use bowline_control_nacl::ReplayCache;
use bowline_service_kit::{Tasks, relay_permits::RelayPermits};
use parking_lot::Mutex;

use crate::{
    Backends, GatewayConfig,
    control_keys::CurrentControlKeys,
    lease::LeaseRenewals,
    machine::{FollowupWaits, RefusalLog},
    pace::ReportPace,
    reporter::Reporter,
    session::Deliveries,
    tailnet::TailnetHub,
    turns::Turns,
};

/// One gateway process.
#[derive(Debug)]
pub struct Gateway {
    pub(crate) config: GatewayConfig,
    pub(crate) keys: Arc<CurrentControlKeys>,
    pub(crate) backends: Backends,
    pub(crate) hub: Arc<TailnetHub>,
    pub(crate) reporter: Reporter,
    /// Passes the reports of clients on, each node's at its pace.
    pub(crate) report_pace: ReportPace,
    pub(crate) deliveries: Deliveries,
    /// When the lease was renewed last; `None` before the first time.
    pub(crate) lease_renewed_at: LeaseRenewals,
    /// How many costly requests are worked on at once.
    pub(crate) turns: Arc<Turns>,
    /// Requests that wait for a person to decide a login.
    pub(crate) followup_waits: Arc<FollowupWaits>,
    /// Logs refused registrations, for each source one line a minute.
    pub(crate) refusal_log: RefusalLog,
    pub(crate) relay_permits: RelayPermits,
    pub(crate) replays: Mutex<ReplayCache>,
    pub(crate) clock: SharedClock,
    pub(crate) tasks: Tasks,
}

impl Gateway {
    /// Says whether the lease was renewed recently enough to readmit known nodes; before the first renewal nothing
    /// here can be out of date.
    pub(crate) fn is_registry_fresh(&self) -> bool {
        let renewed = *self.lease_renewed_at.borrow();
        renewed.is_none_or(|when| {
            tokio::time::Instant::now().into_std() - when <= self.config.max_staleness()
        })
    }
}
