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

use crate::frame::{self, DerpHeader, FrameKind, PeerGoneReason};
use crate::handshake;
use crate::meters;
use crate::peers::{ConnectedPeer, PacketDelivery, PeerEntry};
use crate::relay::RelayState;
use crate::session_end::DerpSessionEnd;
use crate::wire::{self, FrameWriter};
use crate::{RelaySlot, ServedNode};

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
pub(crate) async fn run<S>(relay: &RelayState, stream: S, source: IpAddr, place: &RelaySlot)
where
    S: AsyncRead + AsyncWrite,
{
    let (reader, writer) = tokio::io::split(stream);
    let mut reader = BufReader::with_capacity(BUFFER, reader);
    let mut writer = FrameWriter::new(writer, BUFFER, relay.limits.stalled);

    let greeting = greet_client(relay, &mut reader, &mut writer, source);
    let greeted = select! {
        greeted = timeout(relay.limits.handshake, greeting) => greeted.unwrap_or(Err(DerpSessionEnd::Late)),
        () = relay.closed.cancelled() => Err(DerpSessionEnd::Drained),
    };
    let mut client = match greeted {
        Ok(client) => client,
        Err(ended) => {
            meters::count_refusal(ended.metric_label());
            debug!(%source, error = &ended as &dyn Error, "client was turned away");
            return close_stream(writer).await;
        }
    };

    let peer = client.connected.peer();
    place.mark_known(client.served.clone());
    let acks_pings = client.acks_pings;
    relay.meters.connections.increment(1);
    let Err(ended) = select! {
        ended = receive_frames(relay, &mut reader, &mut client) => ended,
        ended = send_frames(relay, &mut writer, &peer, acks_pings) => ended,
        () = wait_for_refusal(relay, &peer, source) => Err(DerpSessionEnd::NotAdmitted),
        () = peer.replaced.cancelled() => Err(DerpSessionEnd::Replaced),
        () = relay.closed.cancelled() => Err(DerpSessionEnd::Drained),
    };
    relay.meters.connections.decrement(1);
    meters::count_end(ended.metric_label());
    let node = peer.key;
    debug!(%source, %node, error = &ended as &dyn Error, "client is gone");
    drop(client);
    close_stream(writer).await;
}

/// A client that is served.
struct ServedClient {
    connected: PeerEntry,
    served: ServedNode,
    acks_pings: bool,
}

/// Nothing: both directions end only by an [`DerpSessionEnd`].
enum Never {}

async fn greet_client(
    relay: &RelayState,
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut FrameWriter<impl AsyncWrite>,
    source: IpAddr,
) -> Result<ServedClient, DerpSessionEnd> {
    writer
        .write_frame(&frame::server_key_frame(relay.public_key.as_bytes()))
        .await?;
    writer.flush().await?;
    let (_, frame) = wire::read_frame(reader, DerpHeader::decode_first).await?;
    let info = handshake::open_client_info(wire::frame_body(&frame), &relay.secret)?;
    let Some(admitted) = relay.admission.admit_node(info.node, source).await else {
        return Err(DerpSessionEnd::NotAdmitted);
    };
    if let Some(contest) = relay.peers.find_contest(&info.node) {
        meters::count_contest();
        tracing::warn!(
            %source, node = %info.node,
            "two machines use the key of one node, most likely a disk and its copy: log out on one of them, and in again"
        );
        contest.wait_out().await;
    }
    // Entered before it is told so: from the first moment it believes to be connected it can be reached.
    let connected = relay
        .peers
        .enter_peer(info.node, admitted.tailnet, relay.limits.outbox_bytes);
    let nonce = bowline_clock::random_bytes();
    writer
        .write_frame(&frame::server_info_frame(&info.server_info(nonce)))
        .await?;
    writer.flush().await?;
    Ok(ServedClient {
        connected,
        served: ServedNode {
            owner: (admitted.tailnet, admitted.owner),
            node: info.node,
        },
        acks_pings: info.acks_pings,
    })
}

/// Takes what the client sends.
async fn receive_frames(
    relay: &RelayState,
    reader: &mut (impl AsyncRead + Unpin),
    client: &mut ServedClient,
) -> Result<Never, DerpSessionEnd> {
    let peer = client.connected.peer();
    let mut not_here = NotHerePacer::default();
    let mut sent = TokenBucket::default();
    loop {
        let reading = wire::read_frame(reader, DerpHeader::decode);
        let (kind, mut frame) = if client.acks_pings {
            timeout(relay.limits.idle, reading)
                .await
                .map_err(|_| DerpSessionEnd::Idle)??
        } else {
            reading.await?
        };
        match kind {
            Some(FrameKind::SendPacket) => {
                let Some(to) = frame::readdress_packet(&mut frame, peer.key.as_bytes()) else {
                    continue;
                };
                let len = frame.len() - frame::HEADER_LEN - frame::KEY_LEN;
                pace_client(&mut sent, relay.limits.sending, len).await;
                let delivery = client
                    .connected
                    .deliver_frame(NodePublic::from_bytes(to), frame.into());
                relay.meters.count_delivery(delivery, len);
                if delivery == PacketDelivery::NotHere && not_here.take_notice(Instant::now()) {
                    peer.outbox
                        .push(frame::peer_gone_frame(&to, PeerGoneReason::NotHere));
                }
            }
            Some(FrameKind::Ping) => {
                peer.outbox
                    .push(frame::pong_frame(wire::frame_body(&frame)));
            }
            // Which relay a client prefers is its own business, a Pong has done its work by arriving.
            _ => {}
        }
    }
}

/// Waits until a client may send so many bytes.
async fn pace_client(sent: &mut TokenBucket, limit: RateLimit, bytes: usize) {
    for _ in 0..bytes.div_ceil(1 << 10).max(1) {
        while let Err(wait) = sent.take_token(limit, Instant::now().into_std()) {
            sleep(wait).await;
        }
    }
}

/// Writes what waits for the client, keeps the connection alive, and says farewell.
async fn send_frames(
    relay: &RelayState,
    writer: &mut FrameWriter<impl AsyncWrite>,
    peer: &Arc<ConnectedPeer>,
    acks_pings: bool,
) -> Result<Never, DerpSessionEnd> {
    let limits = &relay.limits;
    let spread = limits.keep_alive / KEEP_ALIVE_SPREAD;
    let next_keep_alive = || Instant::now() + limits.keep_alive + random_delay(spread);
    let mut keep_alive_at = next_keep_alive();
    let mut leave_at = None;
    loop {
        select! {
            frame = peer.outbox.next() => {
                writer.write_frame(&frame).await?;
                for frame in std::iter::from_fn(|| peer.outbox.try_next()).take(BATCH) {
                    writer.write_frame(&frame).await?;
                }
            }
            () = sleep_until(keep_alive_at) => {
                writer.write_frame(&frame::keep_alive_frame()).await?;
                if acks_pings {
                    writer.write_frame(&frame::ping_frame([0; 8])).await?;
                }
                keep_alive_at = next_keep_alive();
            }
            () = relay.draining.cancelled(), if leave_at.is_none() => {
                let reconnect_in = random_delay(limits.drain).as_millis();
                let reconnect_in = u32::try_from(reconnect_in).unwrap_or(u32::MAX);
                writer.write_frame(&frame::restarting_frame(reconnect_in, RECONNECT_FOR)).await?;
                leave_at = Some(Instant::now() + random_delay(limits.drain));
            }
            () = sleep_until(leave_at.unwrap_or(keep_alive_at)), if leave_at.is_some() => {
                return Err(DerpSessionEnd::Drained);
            }
        }
        writer.flush().await?;
    }
}

/// Returns once the node is no longer served in its tailnet.
async fn wait_for_refusal(relay: &RelayState, peer: &ConnectedPeer, source: IpAddr) {
    let quarter = relay.limits.admission_ttl / 4;
    loop {
        sleep(quarter + random_delay(quarter)).await;
        let admitted = relay.admission.admit_again(peer.key, source).await;
        if admitted.is_none_or(|admitted| admitted.tailnet != peer.tailnet) {
            return;
        }
    }
}

async fn close_stream(mut writer: FrameWriter<impl AsyncWrite>) {
    // The client may be gone already: then nobody is left to be told.
    let _ = timeout(CLOSE_TIMEOUT, writer.close()).await;
}

fn random_delay(most: Duration) -> Duration {
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX - 1);
    Duration::from_millis(u64::from_le_bytes(bowline_clock::random_bytes()) % (most + 1))
}

/// Paces the PeerGone frames for destinations that are not connected.
#[derive(Default)]
struct NotHerePacer {
    since: Option<Instant>,
    told: u32,
}

impl NotHerePacer {
    fn take_notice(&mut self, now: Instant) -> bool {
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
