//! The spans that wait for a collector: how many there may be, and what becomes of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};

/// The most spans that wait, those that are being sent included: a few megabytes.
pub(super) const MOST: usize = 4096;

/// Counts the spans that wait. Clones share the count.
#[derive(Clone, Debug, Default)]
pub(super) struct WaitingSpans(Arc<AtomicUsize>);

impl WaitingSpans {
    /// Lets no more spans to a processor than may wait.
    pub(super) fn in_front_of(self, processor: BatchSpanProcessor) -> BoundedProcessor {
        BoundedProcessor {
            waiting: self,
            processor,
        }
    }

    fn take_place(&self) -> bool {
        let has_place = |waiting| (waiting < MOST).then_some(waiting + 1);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, has_place);
        taken.is_ok()
    }

    fn give_back(&self, count: usize) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }
}

/// A processor that drops, and counts, what is too many.
#[derive(Debug)]
pub(super) struct BoundedProcessor {
    waiting: WaitingSpans,
    processor: BatchSpanProcessor,
}

impl SpanProcessor for BoundedProcessor {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.processor.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if self.waiting.take_place() {
            self.processor.on_end(span);
        } else {
            count_dropped("full", 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.processor.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.processor.set_resource(resource);
    }
}

/// An exporter that says once that the collector does not answer, and once that it does again.
#[derive(Debug)]
pub(super) struct WatchedExporter {
    exporter: opentelemetry_otlp::SpanExporter,
    waiting: WaitingSpans,
    is_failing: AtomicBool,
}

impl WatchedExporter {
    pub(super) fn new(exporter: opentelemetry_otlp::SpanExporter, waiting: WaitingSpans) -> Self {
        Self {
            exporter,
            waiting,
            is_failing: AtomicBool::new(false),
        }
    }
}

impl SpanExporter for WatchedExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let result = self.exporter.export(batch).await;
        self.waiting.give_back(count);
        match &result {
            Ok(()) => {
                metrics::counter!("bowline_spans_exported_total").increment(count as u64);
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the collector takes spans again");
                }
            }
            Err(error) => {
                count_dropped("not_taken", count as u64);
                if !self.is_failing.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "the collector does not take spans: they are dropped");
                }
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

fn count_dropped(reason: &'static str, count: u64) {
    metrics::counter!("bowline_spans_dropped_total", "reason" => reason).increment(count);
}
