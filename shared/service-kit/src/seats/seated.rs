//! A socket that holds its seat.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use super::{Seat, SeatHandle, SeatHolder};

/// A stream that frees its seat when it is closed, and fails once it has to go for another.
#[derive(Debug)]
pub struct Seated<S, K: SeatHolder> {
    stream: S,
    displaced: Pin<Box<WaitForCancellationFutureOwned>>,
    // After the stream: the seat is free when the socket is closed.
    seat: Seat<K>,
}

impl<S, K: SeatHolder> Seated<S, K> {
    /// Returns the stream on its seat.
    pub fn new(stream: S, seat: Seat<K>) -> Self {
        let displaced = Box::pin(seat.0.end.clone().cancelled_owned());
        Self {
            stream,
            displaced,
            seat,
        }
    }

    /// Returns a way to say what becomes of the seat.
    pub fn handle(&self) -> SeatHandle<K> {
        self.seat.handle()
    }

    /// Returns the stream itself.
    pub fn stream(&mut self) -> &mut S {
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

impl<S: AsyncRead + Unpin, K: SeatHolder> AsyncRead for Seated<S, K> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_displaced(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin, K: SeatHolder> AsyncWrite for Seated<S, K> {
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

impl<S: Connected, K: SeatHolder> Connected for Seated<S, K> {
    /// What is known of the stream, and a way to settle its seat.
    type ConnectInfo = (S::ConnectInfo, SeatHandle<K>);

    fn connect_info(&self) -> Self::ConnectInfo {
        (self.stream.connect_info(), self.handle())
    }
}
