//! A byte stream over records.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    Keys,
    record::{Cipher, HEADER, MAX_PLAINTEXT, RecordError, TAG, begin_record, body_length},
};

/// How many bytes are sealed at once: what is written of a frame goes to the inner stream together.
const MOST_SEALED: usize = 8 * MAX_PLAINTEXT;

/// A byte stream over the records of one connection.
///
/// A buffer exists only while a record is being read or written, so an idle stream costs almost no memory.
pub struct NoiseStream<S> {
    inner: S,
    sealing: Cipher,
    opening: Cipher,
    reading: Reading,
    /// Sealed bytes not yet taken by the inner stream.
    pending: Vec<u8>,
    written: usize,
}

/// How much of the current record has been received.
enum Reading {
    Header {
        header: [u8; HEADER],
        filled: usize,
    },
    Body {
        body: Vec<u8>,
        filled: usize,
    },
    Plain {
        body: Vec<u8>,
        taken: usize,
        end: usize,
    },
}

impl Reading {
    const START: Self = Self::Header {
        header: [0; HEADER],
        filled: 0,
    };
}

impl<S> NoiseStream<S> {
    /// Starts the records over a connection whose handshake is finished.
    #[must_use]
    pub fn new(inner: S, keys: &Keys) -> Self {
        Self {
            inner,
            sealing: Cipher::new(&keys.send),
            opening: Cipher::new(&keys.receive),
            reading: Reading::START,
            pending: Vec::new(),
            written: 0,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> NoiseStream<S> {
    /// Hands sealed bytes to the inner stream.
    fn poll_pending(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.pending.len() {
            let rest = &self.pending[self.written..];
            let count = ready!(Pin::new(&mut self.inner).poll_write(context, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        self.pending = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Seals some bytes, and returns how many.
    fn seal_slices(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, RecordError> {
        let given = slices.iter().map(|slice| slice.len()).sum::<usize>();
        let count = given.min(MOST_SEALED);
        if count == 0 {
            return Ok(0);
        }
        let records = count.div_ceil(MAX_PLAINTEXT);
        self.pending.reserve(count + records * (HEADER + TAG));
        let mut left = count;
        let mut start = begin_record(&mut self.pending);
        for slice in slices {
            let mut rest = &slice[..slice.len().min(left)];
            left -= rest.len();
            while !rest.is_empty() {
                let free = MAX_PLAINTEXT - (self.pending.len() - start);
                if free == 0 {
                    self.sealing.finish_record(start, &mut self.pending)?;
                    start = begin_record(&mut self.pending);
                    continue;
                }
                let (now, later) = rest.split_at(rest.len().min(free));
                self.pending.extend_from_slice(now);
                rest = later;
            }
        }
        self.sealing.finish_record(start, &mut self.pending)?;
        Ok(count)
    }

    /// Reads until some plaintext is there; `false` at the end of the stream.
    fn poll_record(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            match &mut self.reading {
                Reading::Header { header, filled } => {
                    let count =
                        ready!(poll_fill(&mut self.inner, context, &mut header[*filled..]))?;
                    if count == 0 {
                        return match *filled {
                            0 => Poll::Ready(Ok(false)),
                            _ => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                        };
                    }
                    *filled += count;
                    if *filled == HEADER {
                        let length = body_length(*header).map_err(invalid_data)?;
                        self.reading = Reading::Body {
                            body: vec![0; length],
                            filled: 0,
                        };
                    }
                }
                Reading::Body { body, filled } => {
                    let count = ready!(poll_fill(&mut self.inner, context, &mut body[*filled..]))?;
                    if count == 0 {
                        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                    *filled += count;
                    if *filled == body.len() {
                        let end = self.opening.open_record(body).map_err(invalid_data)?;
                        let body = std::mem::take(body);
                        self.reading = Reading::Plain {
                            body,
                            taken: 0,
                            end,
                        };
                    }
                }
                Reading::Plain { taken, end, .. } if taken == end => self.reading = Reading::START,
                Reading::Plain { .. } => return Poll::Ready(Ok(true)),
            }
        }
    }
}

fn poll_fill<S: AsyncRead + Unpin>(
    inner: &mut S,
    context: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut buffer = ReadBuf::new(buffer);
    ready!(Pin::new(inner).poll_read(context, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

fn invalid_data(error: RecordError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for NoiseStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !ready!(this.poll_record(context))? {
            return Poll::Ready(Ok(()));
        }
        if let Reading::Plain { body, taken, end } = &mut this.reading {
            let count = out.remaining().min(*end - *taken);
            out.put_slice(&body[*taken..*taken + count]);
            *taken += count;
            if taken == end {
                this.reading = Reading::START;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for NoiseStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_pending(context))?;
        let count = this.seal_slices(slices).map_err(invalid_data)?;
        // Bytes that the inner stream does not accept now are sent with the next write or flush.
        if let Poll::Ready(result) = this.poll_pending(context) {
            result?;
        }
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_pending(context))?;
        Pin::new(&mut this.inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_pending(context))?;
        Pin::new(&mut this.inner).poll_shutdown(context)
    }
}

impl<S> std::fmt::Debug for NoiseStream<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("NoiseStream")
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
