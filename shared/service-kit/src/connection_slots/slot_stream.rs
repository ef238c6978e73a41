//! A socket that holds its slot.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use super::{ConnectionSlot, SlotHandle, SlotHolder};

/// A stream that frees its slot when it is closed, and fails once it has to go for another.
#[derive(Debug)]
pub struct SlotStream<S, K: SlotHolder> {
    stream: S,
    displaced: Pin<Box<WaitForCancellationFutureOwned>>,
    // After the stream: the slot is free when the socket is closed.
    slot: ConnectionSlot<K>,
}

impl<S, K: SlotHolder> SlotStream<S, K> {
    /// Returns the stream on its slot.
    pub fn new(stream: S, slot: ConnectionSlot<K>) -> Self {
        let displaced = Box::pin(slot.0.end.clone().cancelled_owned());
        Self {
            stream,
            displaced,
            slot,
        }
    }

    /// Returns a way to say what becomes of the slot.
    pub fn handle(&self) -> SlotHandle<K> {
        self.slot.handle()
    }

    /// Returns the stream itself.
    pub fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    fn poll_displaced(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.displaced.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the connection made room for another",
            )),
            Poll::Pending => Ok(()),
        }
    }
}

impl<S: AsyncRead + Unpin, K: SlotHolder> AsyncRead for SlotStream<S, K> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_displaced(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin, K: SlotHolder> AsyncWrite for SlotStream<S, K> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_displaced(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_displaced(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl<S: Connected, K: SlotHolder> Connected for SlotStream<S, K> {
    /// What is known of the stream, and a way to settle its slot.
    type ConnectInfo = (S::ConnectInfo, SlotHandle<K>);

    fn connect_info(&self) -> Self::ConnectInfo {
        (self.stream.connect_info(), self.handle())
    }
}
