//! A stream whose writes can be swallowed for a while: Derp-Fast-Start.
//!
//! A client that already knows the relay's key asks for no HTTP response, and the HTTP server knows no such thing as an
//! upgrade without one. So the response is written, and goes nowhere.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Switches a [`QuietStream`]; clones switch the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct QuietSwitch(Arc<AtomicBool>);

impl QuietSwitch {
    pub(crate) fn set(&self, quiet: bool) {
        self.0.store(quiet, Ordering::Release);
    }
}

/// A stream that drops what is written while its [`QuietSwitch`] is set.
#[derive(Debug)]
pub(crate) struct QuietStream<S> {
    inner: S,
    quiet: QuietSwitch,
}

impl<S> QuietStream<S> {
    pub(crate) fn new(inner: S, quiet: QuietSwitch) -> Self {
        Self { inner, quiet }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for QuietStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for QuietStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.quiet.0.load(Ordering::Acquire) {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
