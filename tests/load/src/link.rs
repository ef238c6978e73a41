//! A connection that can go wrong on the node's side: it becomes slow, stops, or is cut without a word.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until},
};

/// How a node behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum NodeMode {
    /// As a client on a good line.
    Healthy,
    /// It reads [`SLOW_BYTES`] a second.
    Slow,
    /// It stops reading, and goes on sending.
    Stalled,
    /// Nothing gets through either way, and nobody closes: a cable that was pulled.
    HalfOpen,
}

/// How fast a slow node reads, in bytes a second.
const SLOW_BYTES: u32 = 64 << 10;

/// Sets how a node's connections behave, at once.
#[derive(Clone, Debug)]
pub struct LinkSwitch(Arc<AtomicU8>);

impl LinkSwitch {
    /// Returns a switch for connections without any fault.
    pub fn healthy() -> Self {
        Self(Arc::new(AtomicU8::new(NodeMode::Healthy as u8)))
    }

    /// Lets them behave otherwise from here on.
    pub fn set(&self, mode: NodeMode) {
        self.0.store(mode as u8, Ordering::Relaxed);
    }

    fn is(&self, mode: NodeMode) -> bool {
        self.0.load(Ordering::Relaxed) == mode as u8
    }
}

/// A connection with a switch.
#[derive(Debug)]
pub struct FaultyLink {
    stream: TcpStream,
    switch: LinkSwitch,
    /// When a slow node reads on.
    rest: Pin<Box<Sleep>>,
}

impl FaultyLink {
    /// Puts a switch before a connection.
    pub fn new(stream: TcpStream, switch: LinkSwitch) -> Self {
        Self {
            stream,
            switch,
            rest: Box::pin(sleep_until(Instant::now())),
        }
    }
}

impl AsyncRead for FaultyLink {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.switch.is(NodeMode::Stalled) || this.switch.is(NodeMode::HalfOpen) {
            // Nobody is woken: such a link never comes back, it is replaced.
            return Poll::Pending;
        }
        if !this.switch.is(NodeMode::Slow) {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        ready!(this.rest.as_mut().poll(context));
        let mut piece = buffer.take(4096);
        ready!(Pin::new(&mut this.stream).poll_read(context, &mut piece))?;
        let count = piece.filled().len();
        let taken = u32::try_from(count).unwrap_or(u32::MAX);
        let pause = Duration::from_secs(1) * taken / SLOW_BYTES;
        this.rest.as_mut().reset(Instant::now() + pause);
        // The piece began where the buffer was filled to.
        let filled = buffer.initialize_unfilled_to(count).len();
        buffer.advance(filled);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for FaultyLink {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.switch.is(NodeMode::HalfOpen) {
            return Poll::Ready(Ok(data.len()));
        }
        Pin::new(&mut this.stream).poll_write(context, data)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
