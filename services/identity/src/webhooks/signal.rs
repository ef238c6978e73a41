//! Tells the sender that events wait.

use std::sync::Arc;

use tokio::sync::Notify;

/// Tells the sender of the same process that events wait, so that it looks at once. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct EventSignal(Arc<Notify>);

impl EventSignal {
    /// Lets the sender look: events were committed.
    pub(crate) fn wake_sender(&self) {
        self.0.notify_one();
    }

    /// Waits until events were committed since the last time.
    pub(super) async fn wait_for_events(&self) {
        self.0.notified().await;
    }
}
