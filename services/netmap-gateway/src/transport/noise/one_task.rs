//! Serves an HTTP/2 connection and all of its streams on one task.
//!
//! A change wakes the task of each connection once: the map stream makes its frame, and the connection writes it.

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use parking_lot::Mutex;

use crate::woken::PolledWhenWoken;

/// The streams of a connection: HTTP/2 adds them, the connection's task runs them. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct ConnectionStreams(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for ConnectionStreams {
    fn execute(&self, stream: F) {
        self.0.lock().push(stream.boxed());
    }
}

/// A connection with the streams that it has.
pub(super) struct ServedConnection<'c, C> {
    connection: Pin<&'c mut C>,
    added: ConnectionStreams,
    running: FuturesUnordered<BoxFuture<'static, ()>>,
}

/// Which of the two came first.
pub(super) enum Served<C, E> {
    /// The connection has ended.
    Connection(C),
    /// What was waited for.
    Event(E),
}

impl<'c, C: Future> ServedConnection<'c, C> {
    /// Returns a connection whose streams are added to `added`.
    pub(super) fn new(connection: Pin<&'c mut C>, added: ConnectionStreams) -> Self {
        let running = FuturesUnordered::new();
        Self {
            connection,
            added,
            running,
        }
    }

    /// Returns the connection, to tell it something.
    pub(super) fn connection(&mut self) -> Pin<&mut C> {
        self.connection.as_mut()
    }

    /// Serves the connection until it ends, or something happens.
    pub(super) async fn serve_until<E>(
        &mut self,
        event: Pin<&mut impl Future<Output = E>>,
    ) -> Served<C::Output, E> {
        let Self {
            connection,
            added,
            running,
        } = self;
        let mut connection = PolledWhenWoken::new(connection.as_mut());
        let mut event = PolledWhenWoken::new(event);
        poll_fn(|context| {
            loop {
                if let Poll::Ready(event) = event.poll_unpin(context) {
                    return Poll::Ready(Served::Event(event));
                }
                // Before the connection, which writes what they send.
                while let Poll::Ready(Some(())) = running.poll_next_unpin(context) {}
                if let Poll::Ready(ended) = connection.poll_unpin(context) {
                    return Poll::Ready(Served::Connection(ended));
                }
                let begun = std::mem::take(&mut *added.0.lock());
                if begun.is_empty() {
                    return Poll::Pending;
                }
                running.extend(begun);
            }
        })
        .await
    }
}
