//! Change hints between processes: Redis pub/sub, or a channel inside one process.
//!
//! ```text
//! owner ─▶ publish(owner, tailnet + revisions) ─▶ one channel for each owner ─▶ Subscription: Hint or Gap
//! ```
//!
//! A hint says only "look again": it carries no data, and may be lost, repeated, late or forged without harm, because
//! every reader compares revisions with the owner's database and asks for the heads each second anyway.
//!
//! What holds: publishing never waits; a subscription that may have missed hints yields a [`Event::Gap`]; a hint
//! that does not parse is dropped and counted. Retrying, and what a hint means, is not here.

mod channels;
mod hint;
mod redis;
mod subscription;

pub use hint::{Hint, LogOwner};
pub use subscription::{Event, Subscription};

/// Where hints are published and heard. Clones share it.
#[derive(Clone, Debug)]
pub struct Bus(BusTransport);

#[derive(Clone, Debug)]
enum BusTransport {
    InProcess(channels::Channels),
    Redis(redis::RedisBus),
}

/// Why a bus could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the Redis URL is not valid: {0}")]
pub struct InvalidUrl(String);

impl Bus {
    /// Returns a bus inside this process.
    #[must_use]
    pub fn in_process() -> Self {
        Self(BusTransport::InProcess(channels::Channels::default()))
    }

    /// Returns a bus over Redis, at `redis://…` or `rediss://…`, or at the master that sentinels name:
    /// `redis+sentinel://[USER:PASSWORD@]HOST:PORT,HOST:PORT/MASTER`, `rediss+sentinel://…`. Redis need not run yet: the bus
    /// connects when it can, and again whenever the connection breaks.
    ///
    /// # Errors
    ///
    /// When the URL does not parse.
    #[expect(
        clippy::unused_async,
        reason = "spawns tasks: it has to run inside the runtime"
    )]
    pub async fn redis(url: &str) -> Result<Self, InvalidUrl> {
        redis::RedisBus::start(url)
            .map(BusTransport::Redis)
            .map(Self)
    }

    /// Tells others that an owner's log has grown. Never waits; without a connection the hint is dropped.
    pub fn publish(&self, owner: LogOwner, hint: Hint) {
        match &self.0 {
            BusTransport::InProcess(channels) => channels.send_hint(owner, hint),
            BusTransport::Redis(bus) => bus.publish(owner, hint),
        }
    }

    /// Listens to some owners, from now on.
    #[must_use]
    pub fn subscribe(&self, owners: &[LogOwner]) -> Subscription {
        match &self.0 {
            BusTransport::InProcess(channels) => channels.subscribe(owners),
            BusTransport::Redis(bus) => bus.subscribe(owners),
        }
    }
}
