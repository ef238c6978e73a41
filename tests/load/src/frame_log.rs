//! What has come, and when: frames are kept as they are, and opened when nothing is measured.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf as _, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::time::Instant;

/// A longer frame is no sign of life.
const SIGN_OF_LIFE: usize = 160;

/// A frame that has come.
#[derive(Debug)]
pub struct LoggedFrame {
    /// When its last byte came.
    pub at: Instant,
    /// Whether it is the first of a stream.
    pub is_first: bool,
    /// The length and the payload.
    pub frame: Bytes,
}

/// The frames of one node that were not opened yet.
#[derive(Debug, Default)]
pub struct FrameLog(Mutex<Vec<LoggedFrame>>);

impl FrameLog {
    /// Takes all frames out.
    pub fn take(&self) -> Vec<LoggedFrame> {
        std::mem::take(&mut self.0.lock())
    }
}

/// What has come to all nodes.
#[derive(Debug)]
pub struct Traffic {
    start: Instant,
    /// When the last frame came, in microseconds after the start.
    last: AtomicU64,
    /// How many frames.
    pub frames: AtomicU64,
    /// How many bytes they had, lengths included.
    pub bytes: AtomicU64,
    /// How many of these were of first messages.
    pub first_bytes: AtomicU64,
}

impl Traffic {
    /// Begins to count.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            first_bytes: AtomicU64::new(0),
        }
    }

    /// Returns when the last frame came.
    pub fn last(&self) -> Instant {
        self.start + std::time::Duration::from_micros(self.last.load(Ordering::Relaxed))
    }

    fn add(&self, frame: &Bytes, at: Instant, is_first: bool) {
        let length = u64::try_from(frame.len()).unwrap_or(0);
        let micros = at.duration_since(self.start).as_micros();
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(length, Ordering::Relaxed);
        if is_first {
            self.first_bytes.fetch_add(length, Ordering::Relaxed);
        }
        self.last
            .fetch_max(u64::try_from(micros).unwrap_or(0), Ordering::Relaxed);
    }
}

/// Cuts the bytes of one stream into frames.
#[derive(Debug, Default)]
pub struct FrameCutter {
    received: BytesMut,
    has_begun: bool,
}

impl FrameCutter {
    /// Adds bytes, keeps the frames that are whole now and no sign of life, and says whether the first one is among them.
    pub fn push(
        &mut self,
        data: &[u8],
        log: &FrameLog,
        traffic: &Traffic,
        is_sign_of_life: impl Fn(&Bytes) -> bool,
    ) -> bool {
        self.received.extend_from_slice(data);
        let mut has_begun_now = false;
        while let Some(frame) = self.next() {
            if frame.len() <= SIGN_OF_LIFE && is_sign_of_life(&frame) {
                continue;
            }
            let (at, is_first) = (Instant::now(), !self.has_begun);
            traffic.add(&frame, at, is_first);
            let frame = LoggedFrame {
                at,
                is_first,
                frame,
            };
            log.0.lock().push(frame);
            has_begun_now |= is_first;
            self.has_begun = true;
        }
        has_begun_now
    }

    fn next(&mut self) -> Option<Bytes> {
        let length = self.received.first_chunk::<4>().copied()?;
        let length = 4 + usize::try_from(u32::from_le_bytes(length)).ok()?;
        if self.received.len() < length {
            return None;
        }
        let frame = Bytes::copy_from_slice(&self.received[..length]);
        self.received.advance(length);
        if self.received.is_empty() {
            // Nothing is held for an idle stream.
            self.received = BytesMut::new();
        }
        Some(frame)
    }
}
