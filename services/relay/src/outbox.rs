//! What waits to be written to one client, bounded by bytes.
//!
//! Whoever puts a frame in never waits: when it does not fit, the oldest frames make room, since a late packet is worth
//! less than a fresh one.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

/// What a waiting frame costs beside its bytes.
const FRAME_OVERHEAD: usize = 64;

#[derive(Debug)]
pub(crate) struct Outbox {
    limit: usize,
    queue: Mutex<FrameQueue>,
    frame_added: Notify,
}

#[derive(Debug, Default)]
struct FrameQueue {
    frames: VecDeque<Bytes>,
    cost: usize,
}

impl Outbox {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            queue: Mutex::default(),
            frame_added: Notify::new(),
        }
    }

    /// Adds a frame and returns how many were dropped: older ones, or itself when it alone is too large.
    pub(crate) fn push(&self, frame: Bytes) -> u64 {
        let cost = frame.len() + FRAME_OVERHEAD;
        if cost > self.limit {
            return 1;
        }
        let mut dropped = 0;
        let mut queue = self.lock();
        while queue.cost + cost > self.limit && queue.pop().is_some() {
            dropped += 1;
        }
        queue.cost += cost;
        queue.frames.push_back(frame);
        drop(queue);
        self.frame_added.notify_one();
        dropped
    }

    /// Takes the oldest frame, if one waits.
    pub(crate) fn try_next(&self) -> Option<Bytes> {
        self.lock().pop()
    }

    /// Takes the oldest frame, or waits for one. One reader at a time; cancelling loses nothing.
    pub(crate) async fn next(&self) -> Bytes {
        loop {
            if let Some(frame) = self.try_next() {
                return frame;
            }
            self.frame_added.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, FrameQueue> {
        self.queue.lock()
    }
}

impl FrameQueue {
    fn pop(&mut self) -> Option<Bytes> {
        let frame = self.frames.pop_front()?;
        self.cost -= frame.len() + FRAME_OVERHEAD;
        Some(frame)
    }
}

#[cfg(test)]
mod tests;
