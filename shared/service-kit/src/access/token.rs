//! What a request by a token passes: the token's holder may call the RPC, in the tailnet that the request names.
//!
//! All of it is done before the RPC runs, so that no handler can forget it.

use std::sync::Arc;

use bowline_proto::access::{NameTailnet, Principal, Reach, find_rule};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use tonic::Status;
use tonic::body::Body;

use super::is_open;
use crate::caller::TokenCaller;
use crate::status::deny_call;
use crate::{Caller, TokenVerifier};

/// The longest request by a token, in bytes: a policy, and what travels with it.
const LONGEST_REQUEST: usize = 17 << 20;

/// What stands before a message: whether it is compressed, and its length.
const FRAME_HEAD: usize = 5;

/// Returns the request with its caller in it, or its path and why it is refused.
pub(super) async fn admit_request(
    verifier: &TokenVerifier,
    mut request: Request<Body>,
) -> Result<Request<Body>, (String, Status)> {
    let path = request.uri().path().to_owned();
    let refused = |status| (path.clone(), status);
    let token = read_bearer_token(request.headers()).map_err(refused)?;
    let principal = verifier.find_principal(token).await.map_err(refused)?;
    request.headers_mut().remove(header::AUTHORIZATION);
    let mut reach = Reach::Tailnet;
    if !is_open(&path) {
        let denied = |text: String| refused(deny_call(text));
        let rule = find_rule(&path);
        let rule = rule.ok_or_else(|| denied(format!("there is no {path}")))?;
        reach = principal
            .check_call(rule)
            .map_err(|denial| denied(format!("{principal} may not call {path}: {denial}")))?;
        let name_tailnet = rule
            .name_tailnet
            .ok_or_else(|| denied("its request names no tailnet".to_owned()))?;
        request = bind_to_tailnet(request, &principal, name_tailnet)
            .await
            .map_err(refused)?;
    }
    let caller = Caller::Token(TokenCaller { principal, reach });
    request.extensions_mut().insert(caller);
    Ok(request)
}

/// Returns the token in `authorization: Bearer …`.
///
/// # Errors
///
/// When there is another thing.
pub fn read_bearer_token(headers: &HeaderMap) -> Result<&str, Status> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let text = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    };
    let parts = text.and_then(|text| text.split_once(' '));
    match parts {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() => {
            Ok(token.trim())
        }
        _ => Err(Status::unauthenticated(
            "a token is needed: send it as \"authorization: Bearer TOKEN\"",
        )),
    }
}

/// Refuses a request about another tailnet than the token's, and puts the token's where it names none.
async fn bind_to_tailnet(
    request: Request<Body>,
    principal: &Arc<Principal>,
    name_tailnet: NameTailnet,
) -> Result<Request<Body>, Status> {
    let (mut parts, body) = request.into_parts();
    let body = Limited::new(body, LONGEST_REQUEST).collect().await;
    let body = body.map_err(|_| {
        Status::resource_exhausted(format!(
            "the request is cut short or longer than {LONGEST_REQUEST} bytes"
        ))
    })?;
    let frame = body.to_bytes();
    let message = only_message(&frame)?;
    let (named, changed) = name_tailnet(message, principal.tailnet_id).map_err(|error| {
        Status::invalid_argument(format!("the request does not parse: {error}"))
    })?;
    if named != principal.tailnet_id {
        return Err(deny_call("the token is for another tailnet".to_owned()));
    }
    let frame = match changed {
        Some(message) => frame_message(&message),
        None => frame,
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok(Request::from_parts(parts, Body::new(Full::new(frame))))
}

/// Returns the one message of a request.
fn only_message(frame: &Bytes) -> Result<&[u8], Status> {
    let Some((mut head, message)) = frame.split_at_checked(FRAME_HEAD) else {
        return Err(Status::invalid_argument("the request has no message"));
    };
    if head.get_u8() != 0 {
        return Err(Status::unimplemented("compressed requests are not taken"));
    }
    let is_whole = usize::try_from(head.get_u32()).is_ok_and(|length| length == message.len());
    match is_whole {
        true => Ok(message),
        false => Err(Status::invalid_argument("the request has not one message")),
    }
}

fn frame_message(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(FRAME_HEAD + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}
