//! What every handler shares.

use std::sync::Arc;

use bowline_clock::SharedClock;
use bowline_control_keys::ControlKeys;
use bowline_control_nacl::ReplayCache;
use bowline_service_kit::{Tasks, relay_permits::RelayPermits};
use parking_lot::Mutex;

use crate::{
    Backends, GatewayConfig,
    admission::Admission,
    lease::Renewed,
    machine::{FollowupWaits, RefusalLog},
    pace::ReportPace,
    reporter::Reporter,
    session::Deliveries,
    tailnet::TailnetHub,
};

/// One gateway process.
#[derive(Debug)]
pub struct Gateway {
    pub(crate) config: GatewayConfig,
    pub(crate) keys: ControlKeys,
    pub(crate) backends: Backends,
    pub(crate) hub: Arc<TailnetHub>,
    pub(crate) reporter: Reporter,
    pub(crate) pace: ReportPace,
    pub(crate) deliveries: Deliveries,
    pub(crate) lease: Renewed,
    pub(crate) admission: Arc<Admission>,
    pub(crate) waits: Arc<FollowupWaits>,
    pub(crate) refusals: RefusalLog,
    pub(crate) relay_permits: RelayPermits,
    pub(crate) replays: Mutex<ReplayCache>,
    pub(crate) clock: SharedClock,
    pub(crate) tasks: Tasks,
}

impl Gateway {
    /// Says whether the lease was renewed recently enough to readmit known nodes; before the first renewal nothing
    /// here can be out of date.
    pub(crate) fn may_readmit(&self) -> bool {
        let renewed = *self.lease.borrow();
        renewed.is_none_or(|when| {
            tokio::time::Instant::now().into_std() - when <= self.config.max_staleness()
        })
    }
}
