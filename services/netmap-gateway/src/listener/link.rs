//! When the client of a connection was last heard, and whether the link to it is dead.
//!
//! Where it matters (a node that others route through) a quiet client is asked for a sign of life. A client that has
//! answered before and then sends nothing at all for [`SILENCE`] is gone, even if TCP has not noticed. A client that
//! never answered is not judged by its silence.

use std::{
    io,
    pin::Pin,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
    time::Instant,
};

use super::Connection;

/// How long a watched client may be quiet before it is asked for a sign of life.
pub(crate) const QUIET: Duration = Duration::from_secs(4);
/// How long a watched client may be silent before its link is dead: time for three questions without an answer or any
/// other byte.
const SILENCE: Duration = Duration::from_secs(12);

/// What is known of a connection's link.
#[derive(Debug)]
pub struct Link {
    start: Instant,
    /// When the last bytes came, in milliseconds since the start.
    heard: AtomicU64,
    /// Whether the client has answered a question for a sign of life.
    answers: AtomicBool,
    is_watched: watch::Sender<bool>,
    is_dead: AtomicBool,
    /// The host name by which the client knows the server. It answers a question on this connection only when the URL
    /// has the same name.
    authority: OnceLock<String>,
}

/// The longest name of a server that is repeated to the client.
const LONGEST_AUTHORITY: usize = 300;

impl Link {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            heard: AtomicU64::new(0),
            answers: AtomicBool::new(false),
            is_watched: watch::Sender::new(false),
            is_dead: AtomicBool::new(false),
            authority: OnceLock::new(),
        }
    }

    /// Notes how the client names the server.
    pub fn note_authority(&self, authority: &str) {
        if authority.len() <= LONGEST_AUTHORITY {
            self.authority.get_or_init(|| authority.to_owned());
        }
    }

    /// Returns how the client names the server; any name while that is not known.
    pub fn authority(&self) -> &str {
        self.authority.get().map_or("unused", String::as_str)
    }

    /// Notes that bytes came.
    fn note_heard(&self) {
        let since = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(since, Ordering::Relaxed);
    }

    /// Returns when the last bytes came.
    pub fn last_heard(&self) -> Instant {
        self.start + Duration::from_millis(self.heard.load(Ordering::Relaxed))
    }

    /// Notes that the client has answered a question for a sign of life.
    pub fn note_answer(&self) {
        self.answers.store(true, Ordering::Relaxed);
        // Wakes `wait_until_dead`: from now on the client's silence counts.
        self.is_watched.send_modify(|_| {});
    }

    /// Says whether the client has ever answered a question for a sign of life.
    pub fn has_answered(&self) -> bool {
        self.answers.load(Ordering::Relaxed)
    }

    /// Begins to watch the link, or stops.
    pub fn set_watched(&self, is_watched: bool) {
        self.is_watched.send_if_modified(|before| {
            let differs = *before != is_watched;
            if differs && is_watched {
                // Silence from before the link was watched does not count.
                self.note_heard();
            }
            *before = is_watched;
            differs
        });
    }

    /// Says whether the link has been found dead.
    pub fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::Relaxed)
    }

    /// Waits until the link is watched and dead.
    pub async fn wait_until_dead(&self) {
        let mut watched = self.is_watched.subscribe();
        loop {
            if *watched.borrow_and_update() && self.has_answered() {
                let end = self.last_heard() + SILENCE;
                if Instant::now() >= end {
                    self.is_dead.store(true, Ordering::Relaxed);
                    return;
                }
                tokio::select! {
                    () = tokio::time::sleep_until(end) => {}
                    _ = watched.changed() => {}
                }
            } else if watched.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }
}

/// A socket that notes when bytes come.
#[derive(Debug)]
pub(super) struct HeardStream<S> {
    socket: S,
    connection: Connection,
}

impl<S> HeardStream<S> {
    pub(super) fn new(socket: S, connection: Connection) -> Self {
        Self { socket, connection }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeardStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.connection.link().note_heard();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeardStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;
