//! What log lines and spans of a map session have in common.

use std::time::SystemTime;

use bowline_control_wire::FrameError;
use bowline_ids::{NodeId, TailnetId};
use bowline_netmap::Generation;
use bowline_service_kit::{RequestId, TraceParent, WorkSpan, trace::export};
use bytes::Bytes;
use tracing::{Span, field};

use super::{MapSession, ToldState};
use crate::tailnet::History;

/// Whose session it is, and the request that began it. No span is kept: a session that has nothing to tell costs none.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionTrace {
    request: Option<RequestId>,
    parent: Option<TraceParent>,
    tailnet: TailnetId,
    node: NodeId,
}

impl SessionTrace {
    /// Describes a session that begins in the request that is being answered.
    pub(super) fn new(tailnet: TailnetId, node: NodeId) -> Self {
        Self {
            request: RequestId::current(),
            parent: TraceParent::current(),
            tailnet,
            node,
        }
    }

    /// Returns a span of the log for its beginning or its end.
    pub(super) fn session_span(self) -> Span {
        let (id, tailnet) = (self.request.map(field::display), self.tailnet.get());
        tracing::info_span!(
            "map_session",
            request_id = id,
            tailnet,
            node = self.node.get()
        )
    }

    /// Returns a span of the log for making one of its later frames.
    pub(super) fn frame_span(self) -> Span {
        let (id, tailnet) = (self.request.map(field::display), self.tailnet.get());
        tracing::debug_span!(
            "map_frame",
            request_id = id,
            tailnet,
            node = self.node.get()
        )
    }

    /// Begins to make the first frame, a part of the request's trace. The stream after it is no part of it: it may last for
    /// weeks.
    pub(super) fn begin_first_frame(self) -> WorkSpan {
        self.describe(WorkSpan::begin_under(self.parent, "send netmap"))
    }

    /// Records a frame that was made since `begin`: a part of the trace of the change that it tells.
    pub(super) fn record_delta(
        self,
        history: &History,
        (since, told): (Generation, Generation),
        begin: SystemTime,
    ) {
        let origins = history.take_origins(since, told);
        drop(self.describe(WorkSpan::begin_after_since(&origins, "send delta", begin)));
    }

    fn describe(self, mut span: WorkSpan) -> WorkSpan {
        span.note_number("bowline.tailnet.id", self.tailnet.get());
        span.note_number("bowline.node.id", self.node.get());
        span
    }
}

impl MapSession {
    /// Returns the next frame, and records it in the traces of the changes that it tells.
    pub(super) async fn tell_changes(&mut self) -> Result<Option<Bytes>, FrameError> {
        let recorded = export::is_on().then(|| (self.generation_to_compare(), self.clock.now()));
        let frame = self.compare_with_newest().await?;
        if let (Some((since, begin)), Some(_)) = (recorded, &frame) {
            let told = self.generation_to_compare();
            self.trace
                .record_delta(&self.tailnet.history, (since, told), begin.into());
        }
        Ok(frame)
    }

    /// Returns the generation that the client was told of, or a later one if what lies between does not concern its class.
    fn generation_to_compare(&self) -> Generation {
        match &self.state {
            ToldState::Told {
                generation, wake, ..
            } => wake.borrow().compare_from(*generation),
            ToldState::New | ToldState::Ended => self.tailnet.history.view().generation,
        }
    }
}
