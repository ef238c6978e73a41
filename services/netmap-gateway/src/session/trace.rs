//! What log lines of a map session have in common.

use bowline_ids::{NodeId, TailnetId};
use bowline_service_kit::RequestId;
use tracing::{Span, field};

/// Whose session it is, and the request that began it. No span is kept: a session that has nothing to tell costs none.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionTrace {
    request: Option<RequestId>,
    tailnet: TailnetId,
    node: NodeId,
}

impl SessionTrace {
    /// Describes a session that begins in the request that is being answered.
    pub(super) fn new(tailnet: TailnetId, node: NodeId) -> Self {
        let request = RequestId::current();
        Self {
            request,
            tailnet,
            node,
        }
    }

    /// Returns a span for its beginning or its end.
    pub(super) fn session_span(self) -> Span {
        let (id, tailnet) = (self.request.map(field::display), self.tailnet.get());
        tracing::info_span!(
            "map_session",
            request_id = id,
            tailnet,
            node = self.node.get()
        )
    }

    /// Returns a span for making one of its later frames.
    pub(super) fn frame_span(self) -> Span {
        let (id, tailnet) = (self.request.map(field::display), self.tailnet.get());
        tracing::debug_span!(
            "map_frame",
            request_id = id,
            tailnet,
            node = self.node.get()
        )
    }
}
