//! Takes connections in, on a thread of their own, and lets only some begin at once on the threads that answer.
//!
//! ```text
//! accept ─▶ a slot ─▶ the first bytes are there ─▶ TLS or a handshake: waits for a turn ─▶ begins on the threads that answer
//!                                                └─ anything else ──────────────────────┘
//! ```
//!
//! Thousands that connect at once wait here, where they cost little, and not among the tasks that run: whoever asks meanwhile for
//! something that costs little, such as the keys, waits for a few of them and not for all.

use std::{
    io,
    net::{self, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    thread,
    time::Duration,
};

use bowline_service_kit::{
    Tasks,
    connection_slots::{ConnectionSlot, SlotStream},
    networks::Network,
};
use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::{
    io::Interest,
    net::{TcpListener, TcpStream},
    runtime::{Builder, Handle},
    sync::oneshot,
    task::unconstrained,
    time::timeout,
};
use tokio_util::task::TaskTracker;

use crate::turns::{FairSemaphore, RequestOrigin, Turn};

use super::{
    Connection, Holder, Listener, connection::PATIENCE, connection_end::ConnectionEnd,
    contain_panic, preface,
};

/// How many connections that begin with TLS or a handshake may wait for the first work on them.
const BEGINNING: usize = 16;
/// After how many connections others on the thread have their turn.
const ACCEPTED_IN_A_ROW: u64 = 1024;
/// What the connections of clients begin with, of those in browsers too, and what TLS begins with.
const HANDSHAKES: [&[u8]; 3] = [b"POST /ts2021", b"GET /ts2021", &[0x16]];
const LONGEST_START: usize = 12;

/// Takes the connections of a listener in.
pub(super) struct Arrivals {
    listener: Arc<Listener>,
    tasks: Tasks,
    /// The connections that have not ended.
    open: TaskTracker,
    /// Those that wait for the first work on them.
    beginning: Arc<FairSemaphore>,
    /// The threads that answer.
    answering: Handle,
}

/// A connection that was accepted.
struct Arrival {
    socket: TcpStream,
    slot: ConnectionSlot<Holder>,
    source: SocketAddr,
    end: ConnectionEnd,
}

impl Arrivals {
    /// Returns what takes connections in for the threads of the runtime that this is called on.
    pub(super) fn new(listener: Listener, tasks: Tasks, open: TaskTracker) -> Arc<Self> {
        Arc::new(Self {
            listener: Arc::new(listener),
            tasks,
            open,
            beginning: FairSemaphore::new(BEGINNING),
            answering: Handle::current(),
        })
    }

    /// Takes connections in until the drain begins, or until this is dropped.
    pub(super) async fn run(self: Arc<Self>, socket: TcpListener) -> io::Result<()> {
        let socket = socket.into_std()?;
        let (caller, ended) = oneshot::channel();
        thread::Builder::new()
            .name("arrivals".to_owned())
            .spawn(move || self.run_thread(socket, caller))?;
        let panicked = |_| io::Error::other("the thread that accepts connections has ended");
        ended.await.map_err(panicked)?
    }

    fn run_thread(
        self: Arc<Self>,
        socket: net::TcpListener,
        mut caller: oneshot::Sender<io::Result<()>>,
    ) {
        let runtime = Builder::new_current_thread().enable_all().build();
        let ended = runtime.and_then(|runtime| {
            runtime.block_on(async {
                tokio::select! {
                    ended = self.accept_all(socket) => ended,
                    () = caller.closed() => Ok(()),
                }
            })
        });
        // Nobody waits for it when the process ends.
        drop(caller.send(ended));
    }

    async fn accept_all(self: Arc<Self>, socket: net::TcpListener) -> io::Result<()> {
        let arriving = TaskTracker::new();
        let socket = TcpListener::from_std(socket)?;
        // It is not interrupted as other tasks are after a little work: when thousands come at once, the system would refuse
        // those that it has no room to keep for it.
        tokio::select! {
            () = unconstrained(self.accept(&socket, &arriving)) => {}
            () = self.tasks.shutdown().wait_for_drain() => {}
        }
        // Closing the socket refuses new connections at once, so that clients try another gateway.
        drop(socket);
        arriving.close();
        arriving.wait().await;
        Ok(())
    }

    async fn accept(self: &Arc<Self>, socket: &TcpListener, arriving: &TaskTracker) {
        let limits = &self.listener.limits;
        for number in 1.. {
            if number % ACCEPTED_IN_A_ROW == 0 {
                tokio::task::yield_now().await;
            }
            let (socket, source) = match socket.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Most likely there is no free descriptor: wait until some are given back.
                    tracing::warn!(%error, "a connection can not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            // A proxy's own address is not limited: many clients share it.
            let stranger = (!limits.proxies.contain(source.ip())).then(|| source.ip());
            let Some(slot) = limits.slots.take_slot(stranger).await else {
                metrics::counter!("bowline_gateway_connections_refused_total").increment(1);
                continue;
            };
            drop(socket.set_nodelay(true));
            let shutdown = self.tasks.shutdown().clone();
            let arrival = Arrival {
                socket,
                slot,
                source,
                end: ConnectionEnd::new(shutdown, number, self.open.token()),
            };
            arriving.spawn(contain_panic(Arc::clone(self).take_in(arrival)));
        }
    }

    /// Waits until a connection may begin, and lets it.
    async fn take_in(self: Arc<Self>, mut arrival: Arrival) {
        let slot = arrival.slot.handle();
        let turn = tokio::select! {
            turn = self.wait_until_it_may_begin(&mut arrival) => turn,
            () = slot.wait_for_displacement() => return,
        };
        let source = arrival.source;
        if let Err(error) = turn.and_then(|turn| self.begin(arrival, turn)) {
            tracing::debug!(%source, %error, "a connection ended before it began");
        }
    }

    async fn wait_until_it_may_begin(&self, arrival: &mut Arrival) -> io::Result<Option<Turn>> {
        if let Err(error) = arrival.read_client_address(&self.listener).await {
            metrics::counter!("bowline_gateway_proxy_headers_refused_total").increment(1);
            return Err(error);
        }
        tokio::select! {
            turn = self.wait_for_turn(arrival) => turn,
            // What has come until then is closed in its turn, with those that are open.
            () = self.tasks.shutdown().wait_for_drain() => Ok(None),
        }
    }

    /// Waits for the first bytes, and for a turn where they begin something that costs much.
    async fn wait_for_turn(&self, arrival: &Arrival) -> io::Result<Option<Turn>> {
        let mut start = [0; LONGEST_START];
        let length = timeout(PATIENCE, arrival.socket.peek(&mut start)).await??;
        if !begins_handshake(&start[..length]) {
            return Ok(None);
        }
        let origin = RequestOrigin::Stranger(Network::narrowest(arrival.source.ip()));
        let turn = self.beginning.wait_for_turn(origin).await;
        if arrival.is_abandoned() {
            return Err(io::Error::other("its client left before its turn"));
        }
        Ok(turn)
    }

    /// Lets a connection begin on the threads that answer.
    fn begin(&self, arrival: Arrival, turn: Option<Turn>) -> io::Result<()> {
        let socket = arrival.socket.into_std()?;
        let _answering = self.answering.enter();
        let socket = SlotStream::new(TcpStream::from_std(socket)?, arrival.slot);
        let (listener, slot) = (Arc::clone(&self.listener), socket.handle());
        let limits = Arc::clone(&listener.limits);
        let connection = Connection::new(limits, arrival.source, slot.clone(), arrival.end);
        let shutdown = self.tasks.shutdown().clone();
        let serving = async move {
            tokio::select! {
                () = listener.serve_connection(socket, connection, shutdown) => {}
                () = slot.wait_for_displacement() => {}
            }
        };
        let begun = BegunConnection {
            turn,
            serving: contain_panic(serving).boxed(),
        };
        self.tasks.spawn_background("connection", begun);
        Ok(())
    }
}

impl Arrival {
    /// Says whether the client has closed the connection: who waited too long tries again on another one, and work on this one
    /// would be for nobody.
    fn is_abandoned(&self) -> bool {
        let ready = self.socket.ready(Interest::READABLE).now_or_never();
        matches!(ready, Some(Ok(ready)) if ready.is_read_closed())
    }

    /// Learns the client's address: from the PROXY header where a trusted balancer writes one, else it is the socket's.
    async fn read_client_address(&mut self, listener: &Listener) -> io::Result<()> {
        let proxies = &listener.limits.proxies;
        if !proxies.write_headers {
            return Ok(());
        }
        if proxies.contain(self.source.ip()) {
            if let Some(client) = preface::read_header(&mut self.socket).await? {
                self.slot.handle().set_address(client.ip());
                self.source = client;
            }
            return Ok(());
        }
        let begins = timeout(PATIENCE, preface::begins_with_header(&self.socket));
        match begins.await?? {
            false => Ok(()),
            true => Err(io::Error::other(
                "trusted_proxies does not list this address",
            )),
        }
    }
}

/// Says whether the first bytes of a connection begin what costs much: TLS, or a client's handshake.
fn begins_handshake(start: &[u8]) -> bool {
    let begin = |whole: &&[u8]| start.starts_with(whole) || whole.starts_with(start);
    HANDSHAKES.iter().any(begin)
}

/// A connection that begins. The first work on it gives its turn back.
struct BegunConnection {
    turn: Option<Turn>,
    serving: BoxFuture<'static, ()>,
}

impl Future for BegunConnection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let served = self.serving.as_mut().poll(context);
        self.turn = None;
        served
    }
}

#[cfg(test)]
mod tests;
