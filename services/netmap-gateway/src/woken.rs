//! Futures that share a task, each polled only when it was woken itself.
//!
//! A connection waits for many things at a time, and mostly one of them happens: the next frame. `select!` would look at all
//! of them, and each look takes a lock.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// A future that is polled only when it was woken, however often its task is.
pub struct PolledWhenWoken<F> {
    future: F,
    wakes: Arc<Wakes>,
    waker: Waker,
}

#[derive(Debug)]
struct Wakes {
    is_woken: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<F> fmt::Debug for PolledWhenWoken<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PolledWhenWoken")
            .finish_non_exhaustive()
    }
}

impl<F> PolledWhenWoken<F> {
    /// Wraps a future, which is polled once to begin with.
    pub fn new(future: F) -> Self {
        let wakes = Arc::new(Wakes {
            is_woken: AtomicBool::new(true),
            task: AtomicWaker::new(),
        });
        let waker = Waker::from(Arc::clone(&wakes));
        Self {
            future,
            wakes,
            waker,
        }
    }
}

impl<F: Future + Unpin> Future for PolledWhenWoken<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Before the look at the flag: a wake in between is not lost.
        self.wakes.task.register(context.waker());
        if !self.wakes.is_woken.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let Self { future, waker, .. } = &mut *self;
        Pin::new(future).poll(&mut Context::from_waker(waker))
    }
}

#[cfg(test)]
mod tests;
