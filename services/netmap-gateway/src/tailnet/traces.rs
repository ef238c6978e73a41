//! How a change stays in its trace, from the entry of a log to the clients that are told of it.
//!
//! ```text
//! entry with the span of its commit ─▶ span "apply change" ─▶ view, a generation ─▶ span "send delta" of each session
//! ```

use std::collections::VecDeque;

use bowline_ids::TailnetId;
use bowline_netmap::Generation;
use bowline_service_kit::{TraceParent, WorkSpan};

/// Of how many generations it is known what they follow from.
const MOST_GENERATIONS: usize = 64;

/// How many deltas of a generation are recorded. A change may be told to thousands of clients: the first show what the
/// others are like.
const MOST_DELTAS: u32 = 32;

/// What has been applied and not been published.
#[derive(Debug, Default)]
pub(super) struct AppliedChanges {
    spans: Vec<WorkSpan>,
    origins: Vec<TraceParent>,
}

impl AppliedChanges {
    /// Begins to apply what these spans have committed.
    pub(super) fn begin(&mut self, tailnet: TailnetId, origins: Vec<TraceParent>) {
        let mut span = WorkSpan::begin_after(&origins, "apply change");
        span.note_number("bowline.tailnet.id", tailnet.get());
        for origin in span.replace_last(origins) {
            TraceParent::add_to_list(&mut self.origins, origin);
        }
        if span.is_recorded() {
            self.spans.push(span);
        }
    }

    /// Returns what the view that is published now follows from.
    pub(super) fn take_origins(&mut self) -> Vec<TraceParent> {
        std::mem::take(&mut self.origins)
    }

    /// Ends the spans: the view is published.
    pub(super) fn end(&mut self) {
        self.spans.clear();
    }
}

/// What recent generations follow from, the oldest first.
#[derive(Debug, Default)]
pub(super) struct RecentOrigins(VecDeque<GenerationOrigins>);

#[derive(Debug)]
struct GenerationOrigins {
    generation: Generation,
    spans: Vec<TraceParent>,
    deltas_left: u32,
}

impl RecentOrigins {
    pub(super) fn note(&mut self, generation: Generation, spans: Vec<TraceParent>) {
        if self.0.len() == MOST_GENERATIONS {
            self.0.pop_front();
        }
        self.0.push_back(GenerationOrigins {
            generation,
            spans,
            deltas_left: MOST_DELTAS,
        });
    }

    /// Returns what a delta follows from that leads from generation `since` to `told`, and counts it.
    pub(super) fn take(&mut self, since: Generation, told: Generation) -> Vec<TraceParent> {
        let mut found = Vec::new();
        let is_part = |origins: &&mut GenerationOrigins| {
            since < origins.generation && origins.generation <= told && origins.deltas_left > 0
        };
        for origins in self.0.iter_mut().filter(is_part) {
            origins.deltas_left -= 1;
            for span in &origins.spans {
                TraceParent::add_to_list(&mut found, *span);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
