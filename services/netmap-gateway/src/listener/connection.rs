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
use bowline_service_kit::{connection_slots::SlotHandle, networks::Network};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    connection_end::ConnectionEnd,
    limits::{BodyShare, Holder, ListenerLimits},
    link::Link,
};
use crate::session::KeyContest;

/// How long a client may take for the TLS handshake, until its first request, and for the head of each request.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may live without a registered node: longer than a login stays open for a decision.
const STRANGER_LIFETIME: Duration = Duration::from_secs(20 * 60);
/// How long a connection stays known after the last accepted request of its node. An open map stream keeps it known.
const KNOWN_LIFETIME: Duration = Duration::from_secs(60);

/// A connection, as the handlers of its requests see it.
///
/// A connection is *known* when a registered node makes requests on it; until then it is a *stranger's*. A proven
/// machine key is not enough, because anybody can make one. The connection is a stranger's again when its node has no
/// open map stream and has not asked for anything for a while, so that a node which is gone occupies no slot.
#[derive(Clone, Debug)]
pub struct Connection(Arc<ConnectionInner>);

/// What all clients on one socket share: a proxy sends the requests of several clients on one socket.
#[derive(Clone, Debug)]
struct ConnectionSocket {
    limits: Arc<ListenerLimits>,
    slot: SlotHandle<Holder>,
    end: Arc<ConnectionEnd>,
    link: Arc<Link>,
}

#[derive(Debug)]
struct ConnectionInner {
    socket: ConnectionSocket,
    source: SocketAddr,
    /// Whether the other end is a proxy, which sends requests of several clients.
    is_of_proxy: bool,
    contest: KeyContest,
    state: Mutex<ConnectionState>,
    under_way: AtomicUsize,
}

#[derive(Debug)]
struct ConnectionState {
    /// The registered node that makes requests on it, when it has a slot among the known ones.
    holder: Option<Holder>,
    /// The registered node that makes requests on it, while no slot among the known ones is free for it.
    without_slot: Option<Holder>,
    /// How many streams of maps are open.
    streams: usize,
    /// When it became a stranger's; while it is known, when its node's last request was accepted.
    since: Instant,
    /// How many requests were counted as a stranger's. They are given back when the client turns out to be a node.
    counted: u32,
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestRefusal {
    /// Too many are under way on the connection.
    UnderWay,
    /// Too many come from its network; it may ask again after this time.
    Often(Duration),
    /// Too many come from its node; it may ask again after this time.
    OftenOfNode(Duration),
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct RequestUnderWay(Connection);

impl Drop for RequestUnderWay {
    fn drop(&mut self) {
        self.0.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open map stream: until it is dropped, its connection stays known.
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
            limits: front,
            slot,
            end: Arc::new(end),
            link: Arc::new(Link::new()),
        };
        Self::on_socket(socket, source, is_of_proxy)
    }

    fn on_socket(socket: ConnectionSocket, source: SocketAddr, is_of_proxy: bool) -> Self {
        let state = ConnectionState {
            holder: None,
            without_slot: None,
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

    /// Returns which sessions it has lost to other machines that use the same node key.
    pub fn contest(&self) -> &KeyContest {
        &self.0.contest
    }

    /// Returns the connection of one request. Each request from a proxy has its own, because it may come from another
    /// client.
    pub(super) fn of_request(&self, headers: &HeaderMap) -> Self {
        if !self.0.is_of_proxy {
            return self.clone();
        }
        let client = self.0.socket.limits.proxies.client_of(headers);
        let source = client.map_or(self.0.source, |client| SocketAddr::new(client, 0));
        Self::on_socket(self.0.socket.clone(), source, true)
    }

    /// Returns the connection after an upgrade: from then on one client uses it alone, even through a proxy.
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

    /// Waits for its turn to close. In a drain connections close one after the other, so that their clients do not
    /// move to other gateways all at once.
    pub async fn wait_for_drain_turn(&self) {
        let end = &self.0.socket.end;
        tokio::select! {
            () = end.early.cancelled() => {}
            () = end.shutdown.wait_for_drain_share(end.share) => {}
        }
    }

    /// Lets the connection close now, whether the gateway drains or not: its client connects again.
    pub fn close_soon(&self) {
        self.0.socket.end.early.cancel();
    }

    /// Ends everything that is being answered on it. The transport has to tell the client first that the connection
    /// closes: a client whose stream ends before that asks again on the same connection.
    pub fn announce_closing(&self) {
        self.0.socket.end.closing.cancel();
    }

    /// Waits until everything that is answered on it has to end.
    pub async fn wait_until_closing(&self) {
        self.0.socket.end.closing.cancelled().await;
    }

    /// Says whether the gateway drains, so that nothing new may begin on it.
    pub fn is_draining(&self) -> bool {
        self.0.socket.end.shutdown.is_draining()
    }

    /// Returns the client's address, or the proxy's where a trusted proxy does not name the client.
    pub fn source(&self) -> IpAddr {
        self.0.source.ip()
    }

    /// Returns the client's address with its port.
    pub(super) fn address(&self) -> SocketAddr {
        self.0.source
    }

    /// Returns the address that stands for its source: an IPv4 address, or the first of an IPv6 /64.
    pub fn network(&self) -> IpAddr {
        Network::narrowest(self.source()).first_address()
    }

    /// Says whether it is inside TLS, here or at a proxy in front.
    pub fn is_secured(&self) -> bool {
        self.0.socket.limits.is_secured
    }

    pub(super) fn limits(&self) -> &Arc<ListenerLimits> {
        &self.0.socket.limits
    }

    /// Notes that the client is a registered node. Requests that were counted as a stranger's are counted as the
    /// node's instead.
    ///
    /// # Errors
    ///
    /// How long the node has to wait before its next request.
    pub fn mark_known(&self, holder: Holder) -> Result<(), Duration> {
        let inner = &self.0;
        let counted = std::mem::take(&mut self.lock_state().counted);
        inner
            .socket
            .limits
            .give_back_requests(self.source(), counted);
        let now = Instant::now().into_std();
        let mut taken = Ok(());
        for _ in 0..counted {
            taken = inner
                .socket
                .limits
                .take_request_of_node(holder.clone(), now);
        }
        // A proxy needs no slot of a node. Where a source or an owner has too many connections, this one stays a
        // stranger's.
        let is_known = inner.is_of_proxy || inner.socket.slot.mark_known(holder.clone());
        let mut state = self.lock_state();
        if is_known {
            (state.holder, state.without_slot) = (Some(holder), None);
            state.since = Instant::now();
        } else {
            (state.holder, state.without_slot) = (None, Some(holder));
        }
        taken
    }

    /// Gives back the requests that were counted as a stranger's: their sender has proven by a token that it may ask
    /// often.
    pub fn uncount_requests(&self) {
        let counted = std::mem::take(&mut self.lock_state().counted);
        self.0
            .socket
            .limits
            .give_back_requests(self.source(), counted);
    }

    /// Returns the registered node that makes requests on it, when it is known.
    pub fn holder(&self) -> Option<Holder> {
        self.lock_state().holder.clone()
    }

    /// Keeps it known as long as a stream of maps is open.
    pub fn open_stream(&self) -> OpenStream {
        self.lock_state().streams += 1;
        OpenStream(self.clone())
    }

    /// Returns an empty share of the memory that all request bodies may use.
    pub(crate) fn body_share(&self) -> BodyShare {
        self.0
            .socket
            .limits
            .body_share(self.source(), self.holder())
    }

    /// Begins a request, unless too many are under way, or come from its node or network.
    pub(super) fn begin_request(&self) -> Result<RequestUnderWay, RequestRefusal> {
        let inner = &self.0;
        let before = inner.under_way.fetch_add(1, Ordering::Relaxed);
        let under_way = RequestUnderWay(self.clone());
        let now = Instant::now().into_std();
        if let Some(holder) = self.holder() {
            let taken = inner.socket.limits.take_request_of_node(holder, now);
            taken.map_err(RequestRefusal::OftenOfNode)?;
        } else {
            if before >= inner.socket.limits.requests_at_once {
                return Err(RequestRefusal::UnderWay);
            }
            inner
                .socket
                .limits
                .take_request(self.source(), now)
                .map_err(RequestRefusal::Often)?;
            self.lock_state().counted += 1;
        }
        Ok(under_way)
    }

    /// Waits until the connection has to end: no request came in time, or no registered node has used it for too long.
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
        while let Some(look) = self.next_check(Instant::now()) {
            tokio::time::sleep_until(look).await;
        }
    }

    /// Returns when to check again whether it was a stranger's for too long; `None` when it was.
    fn next_check(&self, now: Instant) -> Option<Instant> {
        let unseated = self.lock_state().without_slot.clone();
        if let Some(holder) = unseated {
            // A slot may have become free.
            self.mark_known(holder).ok();
        }
        let mut state = self.lock_state();
        if state.streams > 0 {
            return Some(now + KNOWN_LIFETIME);
        }
        if state.holder.is_some() {
            if state.since + KNOWN_LIFETIME > now {
                return Some(state.since + KNOWN_LIFETIME);
            }
            state.holder = None;
            state.since = now;
            self.0.socket.slot.mark_stranger();
        }
        Some(state.since + STRANGER_LIFETIME).filter(|end| *end > now)
    }

    fn lock_state(&self) -> MutexGuard<'_, ConnectionState> {
        self.0.state.lock()
    }
}

#[cfg(test)]
mod tests;
