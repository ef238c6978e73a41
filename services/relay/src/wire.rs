//! Frames on a stream: read within their bounds, written within a time.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, WriteHalf};
use tokio::time::timeout;

use crate::frame::{DerpFrameError, DerpHeader, FrameKind, HEADER_LEN, KEY_LEN, MAX_PACKET};
use crate::session_end::DerpSessionEnd;

/// Reads one frame, header included, once `judge` has accepted its header.
pub(crate) async fn read_frame(
    reader: &mut (impl AsyncRead + Unpin),
    judge: fn([u8; HEADER_LEN]) -> Result<DerpHeader, DerpFrameError>,
) -> Result<(Option<FrameKind>, Vec<u8>), DerpSessionEnd> {
    let mut head = [0; HEADER_LEN];
    reader.read_exact(&mut head).await?;
    let DerpHeader { kind, len } = judge(head)?;
    // Room for any packet is made at once, for more only as it arrives.
    let mut frame = Vec::with_capacity(HEADER_LEN + len.min(KEY_LEN + MAX_PACKET));
    frame.extend_from_slice(&head);
    let read = reader.take(len as u64).read_to_end(&mut frame).await?;
    if read < len {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok((kind, frame))
}

/// Returns the body of a frame that was read: what follows its header.
pub(crate) fn frame_body(frame: &[u8]) -> &[u8] {
    frame.get(HEADER_LEN..).unwrap_or(&[])
}

/// Writes frames to a client that has a limited time to take each.
pub(crate) struct FrameWriter<S> {
    writer: BufWriter<WriteHalf<S>>,
    patience: Duration,
}

impl<S: AsyncWrite> FrameWriter<S> {
    pub(crate) fn new(writer: WriteHalf<S>, buffer: usize, patience: Duration) -> Self {
        Self {
            writer: BufWriter::with_capacity(buffer, writer),
            patience,
        }
    }

    pub(crate) async fn write_frame(&mut self, frame: &[u8]) -> Result<(), DerpSessionEnd> {
        let written = timeout(self.patience, self.writer.write_all(frame)).await;
        Ok(written.map_err(|_| DerpSessionEnd::Stalled)??)
    }

    pub(crate) async fn flush(&mut self) -> Result<(), DerpSessionEnd> {
        let flushed = timeout(self.patience, self.writer.flush()).await;
        Ok(flushed.map_err(|_| DerpSessionEnd::Stalled)??)
    }

    pub(crate) async fn close(&mut self) -> io::Result<()> {
        self.writer.shutdown().await
    }
}
