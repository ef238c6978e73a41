//! One simulated node: it registers, holds a stream as a client does, and reports.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use bowline_clock::random_bytes;
use bowline_control_nacl::open_box;
use bowline_control_wire::{
    CapabilityVersion, Compression, Hostinfo, MapRequest, MapResponse, RegisterAuth,
    RegisterRequest, RegisterResponse, decode_frame, encode_frame,
};
use bowline_keys::{DiscoPublic, NodePublic, PrivateKey};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    dial::VERSION,
    fleet::FleetContext,
    frame_log::{FrameCutter, FrameLog},
    link::{LinkSwitch, NodeMode},
    session::{MachineSession, Transport},
};

/// The capability version of nodes that speak boxes: the last release that did.
const BOX_VERSION: u16 = 88;
/// The longest message.
const LONGEST: usize = 256 << 20;
/// A client gives up a stream on which nothing came for so long.
const WATCHDOG: Duration = Duration::from_secs(120);
/// In how many networks nodes are, and how many addresses are used of each.
const NETWORKS: usize = 250;

/// A simulated node.
#[derive(Debug)]
pub struct SimulatedNode {
    /// Its place in the fleet and in the roster.
    pub place: usize,
    /// Whose it is.
    pub person: usize,
    /// How it behaves when it is let go wrong.
    pub mode: NodeMode,
    /// Its key.
    pub key: NodePublic,
    /// Its path-discovery key.
    pub disco: DiscoPublic,
    /// What has come.
    pub log: FrameLog,
    transport: Transport,
    machine: Arc<PrivateKey>,
    switch: LinkSwitch,
    progress: Mutex<Progress>,
}

/// How far a node is.
#[derive(Debug, Default)]
struct Progress {
    /// Holds the stream.
    staying: Option<JoinSet<()>>,
    /// The connection of the stream, for requests beside it.
    session: Option<MachineSession>,
    /// When it had to connect.
    asked: Option<Instant>,
    /// When its first message came after that.
    begun: Option<Instant>,
    /// The gateway of the stream.
    gateway: usize,
    /// The endpoint that it reported last.
    endpoint: Option<SocketAddr>,
}

impl SimulatedNode {
    /// Makes a node with keys of its own.
    pub fn new(place: usize, person: usize, mode: NodeMode, transport: Transport) -> Self {
        let public = || PrivateKey::from_random(random_bytes()).public_bytes();
        Self {
            place,
            person,
            mode,
            key: NodePublic::from_bytes(public()),
            disco: DiscoPublic::from_bytes(public()),
            log: FrameLog::default(),
            transport,
            machine: Arc::new(PrivateKey::from_random(random_bytes())),
            switch: LinkSwitch::healthy(),
            progress: Mutex::default(),
        }
    }

    /// Registers with a pre-auth key.
    ///
    /// # Errors
    ///
    /// What the server says.
    pub async fn register(&self, context: &FleetContext, auth_key: &str) -> Result<()> {
        let version = match self.transport {
            Transport::Noise => VERSION,
            Transport::Boxes => 1,
        };
        let request = RegisterRequest {
            version: CapabilityVersion(version),
            node_key: self.key,
            auth: Some(RegisterAuth {
                auth_key: auth_key.to_owned(),
            }),
            hostinfo: Some(self.hostinfo()),
            ..RegisterRequest::default()
        };
        let mut session = self.begin_session(context, 0).await?;
        let answer = session
            .ask_all("register", serde_json::to_vec(&request)?)
            .await?;
        let answer: RegisterResponse = serde_json::from_slice(&answer)?;
        if !answer.error.is_empty() || !answer.auth_url.is_empty() || !answer.machine_authorized {
            bail!("register: refused: {}", answer.error);
        }
        Ok(())
    }

    /// Holds a stream from here on, over any number of connections. `asked` is when it was to begin.
    pub fn connect(self: &Arc<Self>, context: &Arc<FleetContext>, asked: Instant) {
        self.expect_map(asked);
        let mut staying = JoinSet::new();
        staying.spawn(Arc::clone(self).stay(Arc::clone(context)));
        self.progress.lock().staying = Some(staying);
    }

    /// Cuts its connections at once.
    pub fn disconnect(&self) {
        let mut progress = self.progress.lock();
        progress.staying = None;
        progress.session = None;
    }

    /// Begins to wait for a first message.
    pub fn expect_map(&self, asked: Instant) {
        let mut progress = self.progress.lock();
        progress.asked = Some(asked);
        progress.begun = None;
    }

    /// Returns how long it has waited for the first message, which has come.
    pub fn waited(&self) -> Option<Duration> {
        let progress = self.progress.lock();
        Some(progress.begun?.duration_since(progress.asked?))
    }

    /// Returns the number of the gateway that it holds its stream with.
    pub fn gateway(&self) -> usize {
        self.progress.lock().gateway
    }

    /// Lets its connections go wrong as its mode says, or well again.
    pub fn set_wrong(&self, is_wrong: bool) {
        let mode = if is_wrong {
            self.mode
        } else {
            NodeMode::Healthy
        };
        self.switch.set(mode);
    }

    /// Reports an endpoint.
    ///
    /// # Errors
    ///
    /// What the server says.
    pub async fn report(&self, context: &FleetContext, endpoint: SocketAddr) -> Result<()> {
        self.progress.lock().endpoint = Some(endpoint);
        let request = MapRequest {
            omit_peers: true,
            ..self.map_request()
        };
        let beside = self.progress.lock().session.clone();
        let mut session = match beside {
            Some(session) => session,
            None => self.begin_session(context, 0).await?,
        };
        // Only the status is read.
        drop(session.ask("map", serde_json::to_vec(&request)?).await?);
        Ok(())
    }

    /// Reads a frame that was sent to it.
    ///
    /// # Errors
    ///
    /// When it is no message.
    pub fn read(&self, context: &FleetContext, frame: &Bytes) -> Result<MapResponse> {
        let mut framed = match self.transport {
            Transport::Noise => BytesMut::from(&frame[..]),
            Transport::Boxes => {
                let (_, sealed) = frame.split_at(4);
                let control = context.keys.legacy_public_key;
                let opened = open_box(sealed, control, [&*self.machine])?;
                BytesMut::from(&encode_frame(&[&opened.plaintext])?[..])
            }
        };
        let json = decode_frame(&mut framed, Compression::Zstd, LONGEST)?;
        Ok(serde_json::from_slice(&json.context("half a frame")?)?)
    }

    async fn stay(self: Arc<Self>, context: Arc<FleetContext>) {
        let mut failures = 0;
        for attempt in 0.. {
            let mut has_begun = false;
            let ended = self.hold_stream(&context, attempt, &mut has_begun).await;
            self.progress.lock().session = None;
            failures = if has_begun { 1 } else { failures + 1 };
            if let Err(error) = ended {
                context.count_error(&error);
            }
            sleep(back_off(failures)).await;
        }
    }

    /// Holds one stream to its end; `has_begun` is set when its first message has come.
    async fn hold_stream(
        &self,
        context: &FleetContext,
        attempt: usize,
        has_begun: &mut bool,
    ) -> Result<()> {
        let request = MapRequest {
            stream: true,
            keep_alive: true,
            ..self.map_request()
        };
        let mut session = self.begin_session(context, attempt).await?;
        let mut body = session.ask("map", serde_json::to_vec(&request)?).await?;
        {
            let mut progress = self.progress.lock();
            progress.gateway = self.turn(context, attempt);
            // Boxes have one request for each connection.
            progress.session = (self.transport == Transport::Noise).then(|| session.clone());
        }
        let mut cutter = FrameCutter::default();
        loop {
            let frame = timeout(WATCHDOG, body.frame()).await;
            let frame = frame.context("stream: nothing came")?;
            let frame = frame.context("stream: ended")?.context("stream: broken")?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            let is_sign_of_life =
                |frame: &Bytes| self.read(context, frame).is_ok_and(|read| read.keep_alive);
            if cutter.push(data, &self.log, &context.traffic, is_sign_of_life) {
                self.progress.lock().begun.get_or_insert_with(Instant::now);
                *has_begun = true;
            }
        }
    }

    /// Returns the gateway of an attempt: nodes take turns, and the next one where an attempt failed.
    fn turn(&self, context: &FleetContext, attempt: usize) -> usize {
        (self.place + attempt) % context.gateways.len()
    }

    /// Connects to a gateway.
    async fn begin_session(
        &self,
        context: &FleetContext,
        attempt: usize,
    ) -> Result<MachineSession> {
        let stream = context.gateways[self.turn(context, attempt)]
            .dial(source_address(self.place), self.switch.clone())
            .await?;
        MachineSession::begin(stream, self.transport, &self.machine, &context.keys).await
    }

    fn map_request(&self) -> MapRequest {
        let version = match self.transport {
            Transport::Noise => VERSION,
            Transport::Boxes => BOX_VERSION,
        };
        let endpoint = self.progress.lock().endpoint;
        let endpoints: Vec<_> = endpoint.iter().map(SocketAddr::to_string).collect();
        MapRequest {
            version: CapabilityVersion(version),
            endpoint_types: vec![2; endpoints.len()],
            endpoints,
            compress: "zstd".to_owned(),
            node_key: self.key,
            disco_key: self.disco,
            hostinfo: Some(self.hostinfo()),
            ..MapRequest::default()
        }
    }

    fn hostinfo(&self) -> Hostinfo {
        Hostinfo {
            ipn_version: "1.90.9".to_owned(),
            os: "linux".to_owned(),
            hostname: format!("n{}", self.place),
            ..Hostinfo::default()
        }
    }
}

/// Returns an address of the loopback interface that a node has for itself. Neighbours in the order of places are in networks far
/// from each other, as the nodes of many offices are: a gateway bounds what comes from one network.
pub fn source_address(place: usize) -> Ipv4Addr {
    let (network, host) = (place % NETWORKS, place / NETWORKS);
    let octet = |number: usize| u8::try_from(1 + number % NETWORKS).unwrap_or(1);
    Ipv4Addr::new(127, octet(network), octet(host / NETWORKS), octet(host))
}

/// Returns how long a client waits after so many failures in a row.
fn back_off(failures: u32) -> Duration {
    let most = Duration::from_secs(30);
    let pause = Duration::from_millis(10).saturating_mul(failures.saturating_mul(failures));
    let share = f64::from(u32::from_be_bytes(random_bytes())) / f64::from(u32::MAX);
    pause.min(most).mul_f64(0.5 + share)
}
