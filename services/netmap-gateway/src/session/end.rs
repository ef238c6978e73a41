//! How a session ends.

use super::MapSession;
use crate::{listener::Connection, reporter::SessionEnding};

/// Why a session ends before its client leaves.
#[derive(Clone, Copy, Debug)]
pub(super) enum SessionEndCause {
    /// Another session of the node has the slot, or all have to end.
    SlotLost,
    /// Its connection closes.
    Closing,
}

/// Waits until a session has to end; its connection's end counts less.
pub(super) async fn wait_for_end(
    slot_lost: impl Future<Output = ()>,
    connection: Connection,
) -> SessionEndCause {
    tokio::select! {
        biased;
        () = slot_lost => SessionEndCause::SlotLost,
        () = connection.wait_until_closing() => SessionEndCause::Closing,
    }
}

impl Drop for MapSession {
    fn drop(&mut self) {
        metrics::gauge!("bowline_gateway_map_sessions").decrement(1);
        let _entered = self.trace.session_span().entered();
        tracing::info!(tailnet = %self.tailnet.id, node = self.node.get(), "map session ends");
        // If a newer session of this gateway has the slot, that one has reported the node's presence.
        if self.slot.is_held() {
            let epoch = *self.epoch.borrow();
            let why = match () {
                () if self.connection.link().is_dead() => SessionEnding::DeadLink,
                () if self.connection.is_draining() => SessionEnding::Drain,
                () => SessionEnding::Left,
            };
            self.reporter.report_session_ended(
                &self.tailnet,
                self.node,
                &self.node_key,
                epoch,
                why,
            );
        }
    }
}
