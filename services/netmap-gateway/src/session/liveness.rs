//! Asks clients whose nodes others route through for signs of life, so that a dead router is noticed soon.

use bowline_control_wire::{CapabilityVersion, MapResponse, PingRequest};
use bowline_ids::NodeId;
use bowline_netmap::{Dialect, View};
use tokio::time::Instant;

use crate::listener::{Connection, QUIET};

/// The questions for signs of life in one session.
#[derive(Debug, Default)]
pub(super) struct LivenessPings {
    /// `None` before the client was told anything: what its link was watched for before is not known.
    are_wanted: Option<bool>,
    asked: u32,
    asked_at: Option<Instant>,
}

/// How often a client is asked that has never answered: some clients do not answer.
const UNANSWERED: u32 = 3;

impl LivenessPings {
    /// Starts or stops to ask, by whether others route through the node.
    pub(super) fn set_wanted(
        &mut self,
        view: &View,
        node: NodeId,
        dialect: Dialect,
        connection: &Connection,
    ) {
        let shown = view.nodes.get(&node);
        let routes = shown.is_some_and(|shown| shown.usable_routes().next().is_some());
        let are_wanted = routes && dialect.version >= CapabilityVersion::URL_IS_NOISE;
        if self.are_wanted != Some(are_wanted) {
            self.are_wanted = Some(are_wanted);
            connection.link().set_watched(are_wanted);
        }
    }

    /// Waits until the client was quiet for so long that it has to be asked.
    pub(super) async fn wait_until_quiet(&self, connection: &Connection) {
        let link = connection.link();
        if self.are_wanted != Some(true) || self.asked >= UNANSWERED && !link.has_answered() {
            return std::future::pending().await;
        }
        loop {
            let heard = link.last_heard();
            let last = self.asked_at.map_or(heard, |asked_at| asked_at.max(heard));
            if last + QUIET <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(last + QUIET).await;
        }
    }

    /// Returns the next question. Each has another URL, because clients answer a URL once.
    pub(super) fn next_ping(&mut self, connection: &Connection) -> MapResponse {
        self.asked += 1;
        self.asked_at = Some(Instant::now());
        let request = PingRequest {
            url: format!(
                "https://{}/machine/alive/{}-{}",
                connection.link().authority(),
                connection.number(),
                self.asked
            ),
            url_is_noise: true,
            ..PingRequest::default()
        };
        MapResponse {
            keep_alive: true,
            ping_request: Some(request),
            ..MapResponse::default()
        }
    }
}
