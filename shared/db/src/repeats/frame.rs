//! An answer as gRPC sends one message.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::{BodyExt as _, Full};
use tonic::body::Body;

/// What stands before a message: whether it is compressed, and its length.
const FRAME_HEAD: usize = 5;

/// Returns the response that answers with a message.
pub(super) fn answer_with(message: &[u8]) -> Response<Body> {
    let mut frame = BytesMut::with_capacity(FRAME_HEAD + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(frame.freeze()).with_trailers(async { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(body));
    let kind = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Returns a body of bytes that were read before.
pub(super) fn body_of(bytes: &Bytes) -> Body {
    Body::new(Full::new(bytes.clone()))
}
