//! What a listener receives.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll, Stream};

use crate::{Hint, LogOwner};

/// What a listener is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// This owner's hints may have been missed: compare all heads.
    Gap(LogOwner),
    /// An owner's log of a tailnet has grown.
    Hint(LogOwner, Hint),
}

/// Hints of some owners, from the moment of subscribing: a stream that ends with the bus.
pub struct Subscription(pub(crate) SelectAll<BoxStream<'static, Event>>);

impl Subscription {
    /// Returns the next event, `None` after the bus is gone.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.next().await
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.poll_next_unpin(context)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Subscription")
            .field("owners", &self.0.len())
            .finish()
    }
}
