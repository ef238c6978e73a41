//! One DERP connection: handshake, then frames both ways until either side ends it.
//!
//! One task holds the connection. Reading never waits for another client, since handing a packet over does not; writing
//! waits for this client alone.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bowline_keys::NodePublic;
use bowline_service_kit::rate_limit::{RateLimit, TokenBucket};
use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::select;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::debug;

use crate::ended::Ended;
use crate::frame::{self, Gone, Header, Kind};
use crate::handshake;
use crate::meters;
use crate::peers::{Connected, Delivery, Peer};
use crate::relay::Inner;
use crate::wire::{self, FrameWriter};
use crate::{Place, Served};

/// Size of the read and the write buffer.
const BUFFER: usize = 8 << 10;
/// Frames written before anything but packets gets its turn.
const BATCH: usize = 64;
/// KeepAlive frames come up to this part of their period late, so that clients do not fall into step.
const KEEP_ALIVE_SPREAD: u32 = 12;
/// How long a client is asked to try again after Restarting, in ms.
const RECONNECT_FOR: u32 = 5000;
/// Time for a closing stream to say so.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How many unknown destinations a client is told of in [`NOT_HERE_PERIOD`]; it needs no more to look elsewhere.
const NOT_HERE_TOLD: u32 = 3;
const NOT_HERE_PERIOD: Duration = Duration::from_secs(1);

/// Serves a client on an upgraded stream to its end.
pub(crate) async fn run<S>(relay: &Inner, stream: S, source: IpAddr, place: &Place)
where
    S: AsyncRead + AsyncWrite,
{
    let (reader, writer) = tokio::io::split(stream);
    let mut reader = BufReader::with_capacity(BUFFER, reader);
    let mut writer = FrameWriter::new(writer, BUFFER, relay.limits.stalled);

    let greeting = greet(relay, &mut reader, &mut writer, source);
    let greeted = select! {
        greeted = timeout(relay.limits.handshake, greeting) => greeted.unwrap_or(Err(Ended::Late)),
        () = relay.closed.cancelled() => Err(Ended::Drained),
    };
    let mut client = match greeted {
        Ok(client) => client,
        Err(ended) => {
            meters::refused(ended.label());
            debug!(%source, error = &ended as &dyn Error, "client was turned away");
            return close(writer).await;
        }
    };

    let peer = client.connected.peer();
    place.settle(client.served.clone());
    let acks_pings = client.acks_pings;
    relay.meters.connections.increment(1);
    let Err(ended) = select! {
        ended = receive(relay, &mut reader, &mut client) => ended,
        ended = send(relay, &mut writer, &peer, acks_pings) => ended,
        () = refusal(relay, &peer, source) => Err(Ended::NotAdmitted),
        () = peer.replaced.cancelled() => Err(Ended::Replaced),
        () = relay.closed.cancelled() => Err(Ended::Drained),
    };
    relay.meters.connections.decrement(1);
    meters::ended(ended.label());
    let node = peer.key;
    debug!(%source, %node, error = &ended as &dyn Error, "client is gone");
    drop(client);
    close(writer).await;
}

/// A client that is served.
struct Client {
    connected: Connected,
    served: Served,
    acks_pings: bool,
}

/// Nothing: both directions end only by an [`Ended`].
enum Never {}

async fn greet(
    relay: &Inner,
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut FrameWriter<impl AsyncWrite>,
    source: IpAddr,
) -> Result<Client, Ended> {
    writer
        .write(&frame::server_key(relay.public_key.as_bytes()))
        .await?;
    writer.flush().await?;
    let (_, frame) = wire::read_frame(reader, Header::decode_first).await?;
    let info = handshake::open(wire::body(&frame), &relay.secret)?;
    let Some(admitted) = relay.gate.admits(info.node, source).await else {
        return Err(Ended::NotAdmitted);
    };
    if let Some(contest) = relay.peers.contest(&info.node) {
        meters::contested();
        tracing::warn!(
            %source, node = %info.node,
            "two machines use the key of one node, most likely a disk and its copy: log out on one of them, and in again"
        );
        contest.wait().await;
    }
    // Entered before it is told so: from the first moment it believes to be connected it can be reached.
    let connected = relay
        .peers
        .enter(info.node, admitted.tailnet, relay.limits.outbox_bytes);
    let nonce = bowline_clock::random_bytes();
    writer
        .write(&frame::server_info(&info.server_info(nonce)))
        .await?;
    writer.flush().await?;
    Ok(Client {
        connected,
        served: Served {
            owner: (admitted.tailnet, admitted.owner),
            node: info.node,
        },
        acks_pings: info.acks_pings,
    })
}

/// Takes what the client sends.
async fn receive(
    relay: &Inner,
    reader: &mut (impl AsyncRead + Unpin),
    client: &mut Client,
) -> Result<Never, Ended> {
    let peer = client.connected.peer();
    let mut not_here = NotHere::default();
    let mut sent = TokenBucket::default();
    loop {
        let reading = wire::read_frame(reader, Header::decode);
        let (kind, mut frame) = if client.acks_pings {
            timeout(relay.limits.idle, reading)
                .await
                .map_err(|_| Ended::Idle)??
        } else {
            reading.await?
        };
        match kind {
            Some(Kind::SendPacket) => {
                let Some(to) = frame::readdress(&mut frame, peer.key.as_bytes()) else {
                    continue;
                };
                let len = frame.len() - frame::HEADER_LEN - frame::KEY_LEN;
                paced(&mut sent, relay.limits.sending, len).await;
                let delivery = client
                    .connected
                    .deliver(NodePublic::from_bytes(to), frame.into());
                relay.meters.delivery(delivery, len);
                if delivery == Delivery::NotHere && not_here.may_be_told(Instant::now()) {
                    peer.outbox.push(frame::peer_gone(&to, Gone::NotHere));
                }
            }
            Some(Kind::Ping) => {
                peer.outbox.push(frame::pong(wire::body(&frame)));
            }
            // Which relay a client prefers is its own business, a Pong has done its work by arriving.
            _ => {}
        }
    }
}

/// Waits until a client may send so many bytes.
async fn paced(sent: &mut TokenBucket, limit: RateLimit, bytes: usize) {
    for _ in 0..bytes.div_ceil(1 << 10).max(1) {
        while let Err(wait) = sent.take(limit, Instant::now().into_std()) {
            sleep(wait).await;
        }
    }
}

/// Writes what waits for the client, keeps the connection alive, and says farewell.
async fn send(
    relay: &Inner,
    writer: &mut FrameWriter<impl AsyncWrite>,
    peer: &Arc<Peer>,
    acks_pings: bool,
) -> Result<Never, Ended> {
    let limits = &relay.limits;
    let spread = limits.keep_alive / KEEP_ALIVE_SPREAD;
    let next_keep_alive = || Instant::now() + limits.keep_alive + jitter(spread);
    let mut keep_alive_at = next_keep_alive();
    let mut leave_at = None;
    loop {
        select! {
            frame = peer.outbox.next() => {
                writer.write(&frame).await?;
                for frame in std::iter::from_fn(|| peer.outbox.try_next()).take(BATCH) {
                    writer.write(&frame).await?;
                }
            }
            () = sleep_until(keep_alive_at) => {
                writer.write(&frame::keep_alive()).await?;
                if acks_pings {
                    writer.write(&frame::ping([0; 8])).await?;
                }
                keep_alive_at = next_keep_alive();
            }
            () = relay.draining.cancelled(), if leave_at.is_none() => {
                let reconnect_in = jitter(limits.drain).as_millis();
                let reconnect_in = u32::try_from(reconnect_in).unwrap_or(u32::MAX);
                writer.write(&frame::restarting(reconnect_in, RECONNECT_FOR)).await?;
                leave_at = Some(Instant::now() + jitter(limits.drain));
            }
            () = sleep_until(leave_at.unwrap_or(keep_alive_at)), if leave_at.is_some() => {
                return Err(Ended::Drained);
            }
        }
        writer.flush().await?;
    }
}

/// Returns once the node is no longer served in its tailnet.
async fn refusal(relay: &Inner, peer: &Peer, source: IpAddr) {
    let quarter = relay.limits.admission_ttl / 4;
    loop {
        sleep(quarter + jitter(quarter)).await;
        let admitted = relay.gate.still_admits(peer.key, source).await;
        if admitted.is_none_or(|admitted| admitted.tailnet != peer.tailnet) {
            return;
        }
    }
}

async fn close(mut writer: FrameWriter<impl AsyncWrite>) {
    // The client may be gone already: then nobody is left to be told.
    let _ = timeout(CLOSE_TIMEOUT, writer.close()).await;
}

fn jitter(most: Duration) -> Duration {
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX - 1);
    Duration::from_millis(u64::from_le_bytes(bowline_clock::random_bytes()) % (most + 1))
}

/// Paces the PeerGone frames for destinations that are not connected.
#[derive(Default)]
struct NotHere {
    since: Option<Instant>,
    told: u32,
}

impl NotHere {
    fn may_be_told(&mut self, now: Instant) -> bool {
        if self
            .since
            .is_none_or(|since| now - since >= NOT_HERE_PERIOD)
        {
            *self = Self {
                since: Some(now),
                told: 0,
            };
        }
        self.told += 1;
        self.told <= NOT_HERE_TOLD
    }
}
