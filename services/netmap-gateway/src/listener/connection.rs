//! What is known of one connection.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::http::HeaderMap;
use bowline_service_kit::{Shutdown, connection_slots::SlotHandle, networks::Network};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::task_tracker::TaskTrackerToken};

use super::{
    front::{BodyShare, Holder, ListenerLimits},
    link::Link,
};
use crate::session::KeyContest;

/// How long a client may take for the TLS handshake, for the head of a request, and until its first.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection lives on which no node of ours speaks: longer than a login waits for somebody.
const STRANGER: Duration = Duration::from_secs(20 * 60);
/// How long a connection is known after a node's last request was accepted on it, unless a stream of maps is open.
const KNOWN: Duration = Duration::from_secs(60);
/// How many requests a stranger may have under way on a connection.
const STRANGERS_REQUESTS: usize = 8;
/// The part of the drain time over which connections close; the rest is for what they still have to send.
const DRAIN_SPREAD: f64 = 0.7;

/// A connection, as the handlers of its requests see it.
///
/// Machine keys cost nothing, so a proven one makes nobody known: until a registered node speaks, the connection is a
/// stranger's. It is one again when its node's stream of maps has ended and it is asked for nothing: so a node that
/// is gone holds no slot.
#[derive(Clone, Debug)]
pub struct Connection(Arc<ConnectionInner>);

/// What all clients have in common that speak on one socket: with a proxy these are several.
#[derive(Clone, Debug)]
struct ConnectionSocket {
    front: Arc<ListenerLimits>,
    slot: SlotHandle<Holder>,
    end: Arc<ConnectionEnd>,
    link: Arc<Link>,
}

#[derive(Debug)]
struct ConnectionInner {
    socket: ConnectionSocket,
    source: SocketAddr,
    /// The proxy whose connection this is, and which speaks for other clients on it as well.
    is_of_proxy: bool,
    contest: KeyContest,
    state: Mutex<ConnectionState>,
    under_way: AtomicUsize,
}

#[derive(Debug)]
struct ConnectionState {
    /// The node that speaks on it, where it is known.
    holder: Option<Holder>,
    /// The node that speaks on it, while there is no slot for it among those who are known.
    unseated: Option<Holder>,
    /// How many streams of maps are open.
    streams: usize,
    /// Since when it is a stranger's, or when a node's request was accepted last.
    since: Instant,
    /// How many requests of a stranger were counted that may yet turn out to be a node's.
    counted: u32,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestRefusal {
    /// Too many are under way on the connection.
    UnderWay,
    /// Too many come from its network, for so long.
    Often(Duration),
    /// Too many come from its node, for so long.
    OftenOfNode(Duration),
}

/// How a connection ends in a drain.
#[derive(Debug)]
pub struct ConnectionEnd {
    number: u64,
    shutdown: Shutdown,
    /// The part of the drain time after which it closes.
    share: f64,
    /// Cancelled to close it before.
    early: CancellationToken,
    /// Cancelled when the client has been told that nothing more is answered on it.
    closing: CancellationToken,
    /// Counts it among those that the drain waits for.
    _open: TaskTrackerToken,
}

impl ConnectionEnd {
    /// Returns the end of the connection with this number: consecutive numbers lie far apart in the drain.
    pub(super) fn new(shutdown: Shutdown, number: u64, open: TaskTrackerToken) -> Self {
        Self {
            number,
            shutdown,
            share: DRAIN_SPREAD * spread_fraction(number),
            early: CancellationToken::new(),
            closing: CancellationToken::new(),
            _open: open,
        }
    }
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct RequestUnderWay(Connection);

impl Drop for RequestUnderWay {
    fn drop(&mut self) {
        self.0.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream of maps that is open: its connection stays known.
#[derive(Debug)]
pub struct OpenStream(Connection);

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut state = self.0.lock_state();
        state.streams -= 1;
        state.since = Instant::now();
    }
}

impl Connection {
    /// Describes a connection that was accepted.
    pub(super) fn new(
        front: Arc<ListenerLimits>,
        source: SocketAddr,
        slot: SlotHandle<Holder>,
        end: ConnectionEnd,
    ) -> Self {
        let is_of_proxy = front.proxies.contain(source.ip());
        let socket = ConnectionSocket {
            front,
            slot,
            end: Arc::new(end),
            link: Arc::new(Link::new()),
        };
        Self::on_socket(socket, source, is_of_proxy)
    }

    fn on_socket(socket: ConnectionSocket, source: SocketAddr, is_of_proxy: bool) -> Self {
        let state = ConnectionState {
            holder: None,
            unseated: None,
            streams: 0,
            since: Instant::now(),
            counted: 0,
        };
        Self(Arc::new(ConnectionInner {
            socket,
            source,
            is_of_proxy,
            contest: KeyContest::default(),
            state: Mutex::new(state),
            under_way: AtomicUsize::new(0),
        }))
    }

    /// Returns its number; no other connection of this process has the same.
    pub fn number(&self) -> u64 {
        self.0.socket.end.number
    }

    /// Returns what is known of its link.
    pub fn link(&self) -> &Link {
        &self.0.socket.link
    }

    /// Returns what it has lost to other machines with the same node key.
    pub fn contest(&self) -> &KeyContest {
        &self.0.contest
    }

    /// Returns the connection as a request on it has it: a proxy's requests come from different clients.
    pub(super) fn of_request(&self, headers: &HeaderMap) -> Self {
        if !self.0.is_of_proxy {
            return self.clone();
        }
        let client = self.0.socket.front.proxies.client_of(headers);
        let source = client.map_or(self.0.source, |client| SocketAddr::new(client, 0));
        Self::on_socket(self.0.socket.clone(), source, true)
    }

    /// Returns the connection as it goes on after an upgrade: its client has it alone from now on, a proxy in between
    /// or not.
    pub(crate) fn upgraded(&self) -> Self {
        if !self.0.is_of_proxy {
            return self.clone();
        }
        let source = self.0.source;
        self.0.socket.slot.set_address(source.ip());
        let upgraded = Self::on_socket(self.0.socket.clone(), source, false);
        upgraded.lock_state().counted = std::mem::take(&mut self.lock_state().counted);
        upgraded
    }

    /// Waits for its turn to close: in a drain connections close one after the other, so that clients move to other
    /// gateways in no burst.
    pub async fn wait_for_drain_turn(&self) {
        let end = &self.0.socket.end;
        tokio::select! {
            () = end.early.cancelled() => {}
            () = end.shutdown.wait_for_drain_share(end.share) => {}
        }
    }

    /// Brings its turn forward: its client has to ask another gateway.
    pub fn leave(&self) {
        self.0.socket.end.early.cancel();
    }

    /// Says to all that is answered on it that it closes. The transport has told the client before: a client whose
    /// stream ends first would ask again on the same connection.
    pub fn announce_closing(&self) {
        self.0.socket.end.closing.cancel();
    }

    /// Waits until it closes: what is answered on it ends.
    pub async fn closing(&self) {
        self.0.socket.end.closing.cancelled().await;
    }

    /// Says whether the gateway drains, so that nothing new may begin on it.
    pub fn is_draining(&self) -> bool {
        self.0.socket.end.shutdown.is_draining()
    }

    /// Returns where it comes from: the client's address, as far as a trusted proxy told it.
    pub fn source(&self) -> IpAddr {
        self.0.source.ip()
    }

    /// Returns the same with the port.
    pub(super) fn address(&self) -> SocketAddr {
        self.0.source
    }

    /// Returns what counts as one source: an IPv4 address, or the first of the /64 it comes from.
    pub fn network(&self) -> IpAddr {
        Network::narrowest(self.source()).first_address()
    }

    /// Says whether it is inside TLS, here or at a proxy in front.
    pub fn is_secured(&self) -> bool {
        self.0.socket.front.is_secured
    }

    pub(super) fn front(&self) -> &Arc<ListenerLimits> {
        &self.0.socket.front
    }

    /// Notes that a registered node speaks on it: what was counted as a stranger's requests is the node's.
    ///
    /// # Errors
    ///
    /// How long the node has to wait before it may ask anything.
    pub fn mark_known(&self, holder: Holder) -> Result<(), Duration> {
        let inner = &self.0;
        let counted = std::mem::take(&mut self.lock_state().counted);
        inner
            .socket
            .front
            .give_back_requests(self.source(), counted);
        let now = Instant::now().into_std();
        let mut taken = Ok(());
        for _ in 0..counted {
            taken = inner.socket.front.take_request_of_node(holder.clone(), now);
        }
        // A proxy's connection is nobody's; and one too many of one source or owner stays a stranger's.
        let is_known = inner.is_of_proxy || inner.socket.slot.mark_known(holder.clone());
        let mut state = self.lock_state();
        if is_known {
            (state.holder, state.unseated) = (Some(holder), None);
            state.since = Instant::now();
        } else {
            (state.holder, state.unseated) = (None, Some(holder));
        }
        taken
    }

    /// Notes that those who ask on it were proven to be trusted otherwise: their requests are not counted.
    pub fn exempt_from_deadline(&self) {
        let counted = std::mem::take(&mut self.lock_state().counted);
        self.0
            .socket
            .front
            .give_back_requests(self.source(), counted);
    }

    /// Returns the registered node that has spoken on it lately.
    pub fn holder(&self) -> Option<Holder> {
        self.lock_state().holder.clone()
    }

    /// Keeps it known as long as a stream of maps is open.
    pub fn open_stream(&self) -> OpenStream {
        self.lock_state().streams += 1;
        OpenStream(self.clone())
    }

    /// Returns the share of a request's body in what all bodies may hold, empty at first.
    pub(crate) fn body_share(&self) -> BodyShare {
        self.0.socket.front.body_share(self.source(), self.holder())
    }

    /// Begins a request, unless too many are under way or come from where this one does.
    pub(super) fn begin_request(&self) -> Result<RequestUnderWay, RequestRefusal> {
        let inner = &self.0;
        let before = inner.under_way.fetch_add(1, Ordering::Relaxed);
        let under_way = RequestUnderWay(self.clone());
        let now = Instant::now().into_std();
        if let Some(holder) = self.holder() {
            let taken = inner.socket.front.take_request_of_node(holder, now);
            taken.map_err(RequestRefusal::OftenOfNode)?;
        } else {
            if before >= STRANGERS_REQUESTS {
                return Err(RequestRefusal::UnderWay);
            }
            inner
                .socket
                .front
                .take_request(self.source(), now)
                .map_err(RequestRefusal::Often)?;
            self.lock_state().counted += 1;
        }
        Ok(under_way)
    }

    /// Returns when the connection should end: nothing is asked on it at first, or no registered node speaks for long.
    pub async fn wait_until_overstayed(&self, asked: &CancellationToken) {
        if tokio::time::timeout(PATIENCE, asked.cancelled())
            .await
            .is_err()
        {
            return;
        }
        if self.0.is_of_proxy {
            return std::future::pending().await;
        }
        while let Some(look) = self.next_look(Instant::now()) {
            tokio::time::sleep_until(look).await;
        }
    }

    /// Returns when to look again whether it is a stranger's for too long; `None`: it is.
    fn next_look(&self, now: Instant) -> Option<Instant> {
        let unseated = self.lock_state().unseated.clone();
        if let Some(holder) = unseated {
            // Others may have gone meanwhile.
            self.mark_known(holder).ok();
        }
        let mut state = self.lock_state();
        if state.streams > 0 {
            return Some(now + KNOWN);
        }
        if state.holder.is_some() {
            if state.since + KNOWN > now {
                return Some(state.since + KNOWN);
            }
            state.holder = None;
            state.since = now;
            self.0.socket.slot.mark_stranger();
        }
        Some(state.since + STRANGER).filter(|end| *end > now)
    }

    fn lock_state(&self) -> MutexGuard<'_, ConnectionState> {
        self.0.state.lock()
    }
}

/// Returns a number between 0 and 1 that is far from those of neighbouring numbers.
#[expect(clippy::cast_precision_loss, reason = "a spread needs no precision")]
pub fn spread_fraction(number: u64) -> f64 {
    (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests;
