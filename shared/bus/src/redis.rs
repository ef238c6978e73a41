//! Hints over Redis: one task keeps one connection, publishes and listens on it, and makes a new one when it breaks.

mod address;

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, RedisResult, Value};
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};

use address::RedisAddress;

use crate::channels::Channels;
use crate::{Hint, InvalidUrl, LogOwner, Subscription};

/// How many hints may wait for the connection; more are dropped, because a newer one says the same.
const WAITING: usize = 1024;

/// How many hints go out in one write.
const BATCH: usize = 256;

/// How long Redis may take to answer before the connection counts as broken.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How often an idle connection is tried: a server that hangs closes nothing.
const PING: Duration = Duration::from_secs(1);

/// The first and the longest pause before connecting again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A bus over Redis.
#[derive(Clone, Debug)]
pub(crate) struct RedisBus {
    channels: Channels,
    outgoing: mpsc::Sender<(LogOwner, Hint)>,
}

impl RedisBus {
    /// Starts the connection's task; it ends with the last clone.
    pub(crate) fn start(url: &str) -> Result<Self, InvalidUrl> {
        let address = RedisAddress::parse(url).map_err(|error| InvalidUrl(error.to_string()))?;
        let channels = Channels::default();
        let (outgoing, queue) = mpsc::channel(WAITING);
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends with the last handle of this bus"
        )]
        tokio::spawn(
            RedisLink {
                address,
                channels: channels.clone(),
                queue,
            }
            .run(),
        );
        Ok(Self { channels, outgoing })
    }

    pub(crate) fn publish(&self, owner: LogOwner, hint: Hint) {
        if self.outgoing.try_send((owner, hint)).is_err() {
            count_dropped(1);
        }
    }

    pub(crate) fn subscribe(&self, owners: &[LogOwner]) -> Subscription {
        self.channels.subscribe(owners)
    }
}

/// Why serving a connection ended.
enum LinkEnd {
    /// Nobody holds the bus any more.
    Bus,
    /// The connection is of no more use.
    Connection,
}

/// The connection's task.
struct RedisLink {
    address: RedisAddress,
    channels: Channels,
    queue: mpsc::Receiver<(LogOwner, Hint)>,
}

impl RedisLink {
    async fn run(mut self) {
        let mut pause = PAUSE.0;
        loop {
            let lost = Arc::new(Notify::new());
            match self.connect(&lost).await {
                Ok(connection) => {
                    pause = PAUSE.0;
                    tracing::info!("connected to Redis");
                    self.channels.send_gaps();
                    if let LinkEnd::Bus = self.serve_connection(connection, &lost).await {
                        return;
                    }
                    tracing::warn!("connection to Redis lost");
                }
                Err(error) => {
                    tracing::warn!(%error, retry_in = ?pause, "Redis can not be reached");
                }
            }
            if let LinkEnd::Bus = self.drop_hints_for(pause).await {
                return;
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Connects and subscribes; from then on messages go straight to the channels.
    async fn connect(&self, lost: &Arc<Notify>) -> RedisResult<MultiplexedConnection> {
        let (channels, notify) = (self.channels.clone(), Arc::clone(lost));
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(RESPONSE_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT))
            .set_push_sender(move |push: PushInfo| -> Result<(), ()> {
                match push.kind {
                    PushKind::Disconnection => notify.notify_one(),
                    PushKind::Message => deliver_message(&channels, &push.data),
                    _ => {}
                }
                Ok(())
            });
        let server = self.address.find_server().await?;
        let mut connection = server
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        connection
            .subscribe(&LogOwner::ALL.map(channel_name)[..])
            .await?;
        Ok(connection)
    }

    /// Publishes what comes until the connection breaks.
    async fn serve_connection(
        &mut self,
        mut connection: MultiplexedConnection,
        lost: &Notify,
    ) -> LinkEnd {
        let mut ping = interval(PING);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hints = Vec::with_capacity(BATCH);
        loop {
            let mut commands = redis::pipe();
            tokio::select! {
                () = lost.notified() => return LinkEnd::Connection,
                _ = ping.tick() => { commands.cmd("PING").ignore(); }
                count = self.queue.recv_many(&mut hints, BATCH) => {
                    if count == 0 {
                        return LinkEnd::Bus;
                    }
                    for (owner, hint) in hints.drain(..) {
                        commands.publish(channel_name(owner), hint.encode()).ignore();
                    }
                }
            }
            let count = commands.len() as u64;
            if let Err(error) = commands.query_async::<()>(&mut connection).await {
                tracing::warn!(%error, "Redis did not take hints");
                count_dropped(count);
                return LinkEnd::Connection;
            }
        }
    }

    /// Waits without a connection; hints published meanwhile are dropped.
    async fn drop_hints_for(&mut self, pause: Duration) -> LinkEnd {
        let dropping = async {
            while self.queue.recv().await.is_some() {
                count_dropped(1);
            }
        };
        match timeout(pause, dropping).await {
            Ok(()) => LinkEnd::Bus,
            Err(_) => LinkEnd::Connection,
        }
    }
}

fn channel_name(owner: LogOwner) -> String {
    format!("bowline:changes:{}", owner.name())
}

/// Hands a published message on if it is a hint; anybody who reaches Redis may have sent it.
fn deliver_message(channels: &Channels, data: &[Value]) {
    let hint = match data {
        [Value::BulkString(name), Value::BulkString(text)] => LogOwner::ALL
            .into_iter()
            .find(|owner| channel_name(*owner).as_bytes() == name.as_slice())
            .zip(Hint::decode(text)),
        _ => None,
    };
    match hint {
        Some((owner, hint)) => channels.send_hint(owner, hint),
        None => metrics::counter!("bowline_bus_malformed_total").increment(1),
    }
}

fn count_dropped(count: u64) {
    metrics::counter!("bowline_bus_dropped_total").increment(count);
}
