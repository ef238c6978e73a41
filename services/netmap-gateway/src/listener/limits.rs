//! What connections share: slots, memory for request bodies, a limit on requests, and when refused clients should try
//! again.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderValue, Request, Response, StatusCode, header},
    response::IntoResponse as _,
};
use bowline_clock::random_bytes;
use bowline_ids::{NodeId, NodeOwner, TailnetId};
use bowline_service_kit::{
    TracedWork,
    connection_slots::{ConnectionSlots, SlotHolder, SlotLimits},
    networks::Network,
    rate_limit::{RateLimit, TokenBuckets},
    retry_window::RetryWindow,
    trace,
};
use futures_util::{FutureExt as _, future::BoxFuture};
use parking_lot::{Mutex, MutexGuard};
use tower::ServiceExt as _;
use tracing::{Instrument as _, field};

use crate::machine::RetryTime;

use super::{
    Connection,
    connection::RequestRefusal,
    proxies::Proxies,
    quota::{Quota, QuotaShare},
};

/// The registered node that a connection belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Holder {
    /// The owner of the node.
    pub(crate) owner: Owner,
    /// Its number.
    pub(crate) node: NodeId,
}

/// An owner of nodes, in their tailnet.
type Owner = (TailnetId, NodeOwner);

impl SlotHolder for Holder {
    type Owner = Owner;

    fn owner(&self) -> Owner {
        self.owner.clone()
    }
}

/// How many requests may be under way on a stranger's connection, and on an administrator's.
const STRANGERS_REQUESTS: usize = 8;
const ADMIN_REQUESTS: usize = 64;
/// How many connections administrators may have.
const ADMIN_CONNECTIONS: usize = 256;
/// How many connections one node may have: one that it uses, and some that broke without anybody having noticed.
const CONNECTIONS_OF_NODE: usize = 8;
/// How many bytes the bodies of all strangers may use, and how many those of one source may use at least.
const STRANGERS_BODIES: usize = 32 << 20;
const LEAST_BODIES: usize = 512 << 10;
/// How many bytes the bodies of all nodes may use, those of one owner's nodes, and those of one node.
const NODES_BODIES: usize = 64 << 20;
const BODIES_OF_OWNER: usize = NODES_BODIES / 2;
const BODIES_OF_NODE: usize = 1 << 20;
/// How often one source may ask on strangers' connections: a whole office may be behind one address.
const REQUESTS: RateLimit = RateLimit::new(1000, Duration::from_millis(5));
/// The same for the networks around it.
const REQUESTS_AROUND: RateLimit = RateLimit::new(4000, Duration::from_micros(1250));
/// How often one node may ask: more often than a client does that keeps changing networks. Each gateway counts for
/// itself, because it protects only itself.
const REQUESTS_OF_NODE: RateLimit = RateLimit::new(100, Duration::from_millis(50));
/// How many nodes have a bucket at a time.
const MOST_NODES: usize = 100_000;
/// How many sources have a bucket at a time.
const MOST_SOURCES: usize = 65_536;

/// What the connections of a listener share.
#[derive(Debug)]
pub(crate) struct ListenerLimits {
    pub(super) slots: Arc<ConnectionSlots<Holder>>,
    pub(super) proxies: Proxies,
    pub(super) is_secured: bool,
    /// How many requests may be under way on a connection of nobody known.
    pub(super) requests_at_once: usize,
    strangers_bodies: Arc<Quota<Network>>,
    nodes_bodies: Arc<Quota<NodeShare>>,
    requests: Mutex<RequestBuckets>,
    retry: Mutex<RetryWindow>,
}

/// How many requests may still be made.
#[derive(Debug)]
struct RequestBuckets {
    of_source: TokenBuckets<Network>,
    around: TokenBuckets<Network>,
    of_node: TokenBuckets<Holder>,
}

/// Who uses memory for the bodies of nodes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NodeShare {
    /// All nodes of an owner.
    Owner(Owner),
    /// A node's.
    Node(Holder),
}

/// The memory that one request body uses.
#[derive(Debug)]
pub(crate) enum BodyShare {
    /// A stranger's.
    Stranger(QuotaShare<Network>),
    /// A node's.
    Node(QuotaShare<NodeShare>),
}

impl BodyShare {
    /// Takes `more` bytes; `false`, and nothing is taken, when too few are left.
    pub(crate) fn grow(&mut self, more: usize) -> bool {
        match self {
            Self::Stranger(share) => share.grow(more),
            Self::Node(share) => share.grow(more),
        }
    }
}

impl ListenerLimits {
    /// Returns the limits for at most this many connections.
    pub(crate) fn new(connections: usize, proxies: Proxies, is_secured: bool) -> Arc<Self> {
        Arc::new(Self::build(connections, proxies, is_secured))
    }

    /// Returns the limits of the administration address: few connections, with many calls on each.
    pub(crate) fn for_administrators(proxies: Proxies, is_secured: bool) -> Arc<Self> {
        Arc::new(Self {
            requests_at_once: ADMIN_REQUESTS,
            ..Self::build(ADMIN_CONNECTIONS, proxies, is_secured)
        })
    }

    fn build(connections: usize, proxies: Proxies, is_secured: bool) -> Self {
        let limits = SlotLimits {
            all: connections,
            of_one_holder: CONNECTIONS_OF_NODE,
        };
        Self {
            slots: ConnectionSlots::new(limits),
            proxies,
            is_secured,
            requests_at_once: STRANGERS_REQUESTS,
            strangers_bodies: Quota::new(STRANGERS_BODIES),
            nodes_bodies: Quota::new(NODES_BODIES),
            requests: Mutex::new(RequestBuckets {
                of_source: TokenBuckets::new(REQUESTS, MOST_SOURCES),
                around: TokenBuckets::new(REQUESTS_AROUND, MOST_SOURCES),
                of_node: TokenBuckets::new(REQUESTS_OF_NODE, MOST_NODES),
            }),
            retry: Mutex::default(),
        }
    }

    /// Returns an empty share for one body.
    pub(super) fn body_share(&self, source: IpAddr, holder: Option<Holder>) -> BodyShare {
        match holder {
            Some(holder) => {
                let of_owner = (NodeShare::Owner(holder.owner()), BODIES_OF_OWNER);
                let of_node = (NodeShare::Node(holder), BODIES_OF_NODE);
                BodyShare::Node(self.nodes_bodies.share(vec![of_owner, of_node]))
            }
            None => {
                let parts = Network::around(source).map(|network| {
                    let share = network.share_of(STRANGERS_BODIES, LEAST_BODIES);
                    (network, share)
                });
                BodyShare::Stranger(self.strangers_bodies.share(parts.into()))
            }
        }
    }

    /// Takes the right to one request of a stranger.
    ///
    /// # Errors
    ///
    /// How long to wait for it.
    pub(super) fn take_request(&self, source: IpAddr, now: Instant) -> Result<(), Duration> {
        let [_, around, narrowest] = source_networks(source);
        let mut requests = self.lock_requests();
        requests.of_source.take_token(narrowest, now)?;
        let taken = requests.around.take_token(around, now);
        if taken.is_err() {
            requests.of_source.return_token(&narrowest);
        }
        taken
    }

    /// Takes the right to one request of a node.
    ///
    /// # Errors
    ///
    /// How long to wait for it.
    pub(super) fn take_request_of_node(
        &self,
        holder: Holder,
        now: Instant,
    ) -> Result<(), Duration> {
        self.lock_requests().of_node.take_token(holder, now)
    }

    /// Gives back what was taken for requests of a client that turned out to be known.
    pub(super) fn give_back_requests(&self, source: IpAddr, number: u32) {
        let [_, around, narrowest] = source_networks(source);
        let mut requests = self.lock_requests();
        for _ in 0..number {
            requests.of_source.return_token(&narrowest);
            requests.around.return_token(&around);
        }
    }

    fn lock_requests(&self) -> MutexGuard<'_, RequestBuckets> {
        self.requests.lock()
    }

    /// Adds `Retry-After` to an answer that refuses a request for now.
    fn add_retry_after(&self, response: &mut Response<Body>, at_least: Duration) {
        let waits = [
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        if !waits.contains(&response.status()) {
            return;
        }
        let random = u64::from_be_bytes(random_bytes());
        let mut retry = self.retry.lock();
        let seconds =
            retry.note_refusal(tokio::time::Instant::now().into_std(), random) + at_least.as_secs();
        drop(retry);
        let retry_after = HeaderValue::from(seconds);
        response
            .headers_mut()
            .entry(header::RETRY_AFTER)
            .or_insert(retry_after);
    }
}

/// Returns the networks whose requests are counted: the last is the source, the second the network around it.
fn source_networks(source: IpAddr) -> [Network; 3] {
    let [wide, middle, narrow] = Network::around(source);
    match source.to_canonical() {
        IpAddr::V4(_) => [wide, middle, narrow],
        IpAddr::V6(_) => [wide, wide, narrow],
    }
}

/// Answers a request, if its connection may ask now. The request id is made here and follows the request through all
/// services; an id from the client is ignored.
///
/// The work is in a box, which is gone once the answer begins: a map stream lasts.
pub(crate) fn answer_request(
    connection: &Connection,
    routes: Router,
    request: Request<Body>,
) -> RequestAnswer {
    let connection = connection.of_request(request.headers());
    let endpoint = endpoint_name(request.uri().path());
    let work = TracedWork::begin(endpoint).with_source(Some(connection.source()));
    let span = tracing::info_span!(
        "request",
        request_id = %work.id(),
        endpoint,
        source = %connection.source(),
        tailnet = field::Empty,
        node = field::Empty,
    );
    let answering = async move {
        let begin = tokio::time::Instant::now();
        let response = answer_unless_refused(connection, routes, request).await;
        let (status, elapsed) = (response.status().as_u16(), begin.elapsed());
        trace::note_http_status(status);
        tracing::debug!(
            status,
            duration_ms = elapsed.as_millis(),
            "request answered"
        );
        response
    };
    RequestAnswer(work.scope(answering).instrument(span).map(Ok).boxed())
}

/// The work on a request. A type of its own, because the compiler does not see of a plain box that a task may have it.
pub(crate) struct RequestAnswer(BoxFuture<'static, Result<Response<Body>, Infallible>>);

impl Future for RequestAnswer {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

/// Returns the name of an endpoint for logs. The path is not logged: it may hold a secret, or be of any length.
fn endpoint_name(path: &str) -> &'static str {
    let mut parts = path.split('/').skip(1);
    match (parts.next(), parts.next(), parts.next()) {
        (Some("key"), None, _) => "key",
        (Some("ts2021"), None, _) => "ts2021",
        (Some("machine"), Some("map"), None) | (Some("machine"), Some(_), Some("map")) => "map",
        (Some("machine"), Some("alive"), _) => "alive",
        (Some("machine"), Some("ssh"), _) => "ssh",
        (Some("machine"), Some("update-health"), _) => "health",
        (Some("machine"), Some(_), None) => "register",
        (Some("register" | "login"), Some(_), None) => "login",
        (Some("verify"), Some(_), None) => "verify",
        (Some(service), Some(_), None) if service.starts_with("bowline.") => "administration",
        _ => "other",
    }
}

async fn answer_unless_refused(
    connection: Connection,
    routes: Router,
    mut request: Request<Body>,
) -> Response<Body> {
    let front = Arc::clone(connection.limits());
    let (mut response, wait) = match connection.begin_request() {
        Ok(_under_way) => {
            let source = ConnectInfo(connection.address());
            request.extensions_mut().insert(source);
            request.extensions_mut().insert(connection);
            let answer = routes.oneshot(request).await;
            let answer = answer.unwrap_or_else(|never| match never {});
            let wait = answer.extensions().get::<RetryTime>().map(|wait| wait.0);
            (answer, wait.unwrap_or(Duration::ZERO))
        }
        Err(refused) => {
            let (reason, text, wait) = match refused {
                RequestRefusal::UnderWay => (
                    "under_way",
                    "too many requests are under way on this connection",
                    Duration::ZERO,
                ),
                RequestRefusal::Often(wait) => (
                    "often",
                    "too many requests come from this network: try again later",
                    wait,
                ),
                RequestRefusal::OftenOfNode(wait) => (
                    "often_of_node",
                    "this device asks too often: try again in a few seconds",
                    wait,
                ),
            };
            metrics::counter!("bowline_gateway_requests_refused_total", "reason" => reason)
                .increment(1);
            ((StatusCode::TOO_MANY_REQUESTS, text).into_response(), wait)
        }
    };
    front.add_retry_after(&mut response, wait);
    response
}

#[cfg(test)]
mod tests;
