//! What the relay grants to clients, in connections, bytes and time.

use std::time::Duration;

use bowline_service_kit::rate_limit::RateLimit;

/// Bounds on what clients may cost; the default suits a few thousand nodes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once, of all clients; those who are not admitted have a part of it for each network.
    pub connections: usize,
    /// How fast one client may send, in KiB: so much at once, and one more each period. It is read no faster.
    pub sending: RateLimit,
    /// Bytes that wait for one client; the oldest packets are dropped beyond.
    pub outbox_bytes: usize,
    /// Nodes whose admission is remembered.
    pub remembered_nodes: usize,
    /// Time for each step before a client is served: TLS, the HTTP request, the DERP handshake.
    pub handshake: Duration,
    /// Time between KeepAlive frames, before a twelfth of it as jitter; clients give up after 120 s of silence.
    pub keep_alive: Duration,
    /// Silence after which a client that answers pings is taken for dead; more than [`Self::keep_alive`].
    pub idle: Duration,
    /// Time for one frame to leave towards a client before it is taken for dead.
    pub stalled: Duration,
    /// Longest time a node that lost its admission is still served.
    pub admission_ttl: Duration,
    /// How long an admitted node is served while nobody can be asked.
    pub unasked: Duration,
    /// Time over which a drain spreads the ends of the connections.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            sending: RateLimit::new(16 << 10, Duration::from_micros(61)),
            outbox_bytes: 256 << 10,
            remembered_nodes: 16_384,
            handshake: Duration::from_secs(10),
            keep_alive: Duration::from_secs(60),
            idle: Duration::from_secs(150),
            stalled: Duration::from_secs(30),
            admission_ttl: Duration::from_secs(30),
            unasked: Duration::from_secs(60 * 60),
            drain: Duration::from_secs(2),
        }
    }
}
