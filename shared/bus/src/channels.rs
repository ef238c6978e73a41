//! One channel inside this process for each owner; also the last hop of a bus over Redis.

use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;

use crate::{Event, Hint, LogOwner, Subscription};

/// How many events a listener may be behind before it gets a gap instead.
const BEHIND: usize = 4096;

/// The channels, in the order of [`LogOwner::ALL`].
#[derive(Clone, Debug)]
pub(crate) struct Channels([broadcast::Sender<Event>; LogOwner::ALL.len()]);

impl Default for Channels {
    fn default() -> Self {
        Self(LogOwner::ALL.map(|_| broadcast::Sender::new(BEHIND)))
    }
}

impl Channels {
    pub(crate) fn send_hint(&self, owner: LogOwner, hint: Hint) {
        self.send_event(owner, Event::Hint(owner, hint));
    }

    pub(crate) fn send_gaps(&self) {
        for owner in LogOwner::ALL {
            self.send_event(owner, Event::Gap(owner));
        }
    }

    pub(crate) fn subscribe(&self, owners: &[LogOwner]) -> Subscription {
        let mut events: SelectAll<BoxStream<'static, Event>> = SelectAll::new();
        for &owner in owners {
            let receiver = self.0[owner as usize].subscribe();
            let stream = BroadcastStream::new(receiver).map(move |event| match event {
                Ok(event) => event,
                Err(BroadcastStreamRecvError::Lagged(_)) => Event::Gap(owner),
            });
            events.push(stream.boxed());
        }
        Subscription(events)
    }

    fn send_event(&self, owner: LogOwner, event: Event) {
        // Nobody listens: nobody misses it.
        drop(self.0[owner as usize].send(event));
    }
}
