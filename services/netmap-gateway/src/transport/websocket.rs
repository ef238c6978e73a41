//! A WebSocket's binary messages as a byte stream; their boundaries carry no meaning.

use std::io;

use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

/// Returns the byte stream inside a WebSocket.
pub(super) fn into_byte_stream(
    socket: WebSocket,
) -> impl AsyncRead + AsyncWrite + Unpin + Send + 'static {
    let (sink, stream) = socket.split();
    let received = stream.filter_map(async |message| match message {
        Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
        Ok(_) => None,
        Err(error) => Some(Err(io::Error::other(error))),
    });
    let sent = sink
        .sink_map_err(io::Error::other)
        .with(async |bytes: Bytes| Ok::<_, io::Error>(Message::Binary(bytes)));
    tokio::io::join(
        StreamReader::new(Box::pin(received)),
        SinkWriter::new(CopyToBytes::new(Box::pin(sent))),
    )
}
