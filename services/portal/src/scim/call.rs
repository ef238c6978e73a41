//! Calls of identity with the provider's own token.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use axum::{
    body::Bytes,
    extract::rejection::BytesRejection,
    http::{HeaderMap, StatusCode, header},
};
use bowline_proto::identity::v1::scim_service_client::ScimServiceClient;
use bowline_service_kit::{GrpcChannel, rate_limit::RateLimit};
use bowline_tokens::{PresentedToken, TokenKind};
use tonic::{Code, Response, Status};
use zeroize::Zeroizing;

use super::answer::ScimFailure;
use crate::{limits::MustWait, start::Portal};

/// Requests of one token: 1,000 at once, then 50 a second. Providers bring a whole organisation at first.
pub(crate) const SCIM_TURNS: RateLimit = RateLimit::new(1000, Duration::from_millis(20));
/// The longest answer of identity: a group with all its members.
const LONGEST_ANSWER: usize = 64 << 20;

/// The caller of a request.
pub(super) struct ScimCall<'a> {
    pub(super) portal: &'a Portal,
    source: IpAddr,
    token: Zeroizing<String>,
    /// The token's id, or empty.
    holder: String,
}

impl<'a> ScimCall<'a> {
    /// Reads who calls. Whether the token is one is not known yet.
    pub(super) fn begin(
        portal: &'a Portal,
        source: SocketAddr,
        headers: &HeaderMap,
    ) -> Result<Self, ScimFailure> {
        let token = read_token(headers).ok_or_else(|| {
            let detail = "a SCIM token is missing: send it as Authorization: Bearer";
            ScimFailure::new(StatusCode::UNAUTHORIZED, detail)
        })?;
        let presented = PresentedToken::parse_as(TokenKind::ScimToken, &token);
        let holder = presented.map_or_else(String::new, |token| token.id().to_owned());
        Ok(Self {
            portal,
            source: source.ip(),
            token,
            holder,
        })
    }

    /// Returns the token, for a request.
    pub(super) fn token(&self) -> String {
        self.token.to_string()
    }

    /// Calls identity, and counts the try.
    pub(super) async fn ask<T>(
        &self,
        call: impl AsyncFnOnce(&mut ScimServiceClient<GrpcChannel>) -> Result<Response<T>, Status>,
    ) -> Result<T, ScimFailure> {
        let limits = &self.portal.scim_limits;
        let now = tokio::time::Instant::now().into_std();
        let tried =
            limits
                .begin_try(self.source, &self.holder, now)
                .map_err(|wait| match wait {
                    MustWait::Network(wait) => ScimFailure::slow_down(
                        "too many tries without a valid token come from this network",
                        wait,
                    ),
                    MustWait::Holder(wait) => {
                        ScimFailure::slow_down("this token asks too often: slow down", wait)
                    }
                })?;
        let mut identity = ScimServiceClient::new(self.portal.identity.clone())
            .max_decoding_message_size(LONGEST_ANSWER);
        let answer = call(&mut identity).await;
        let is_wrong = matches!(&answer, Err(status) if status.code() == Code::Unauthenticated);
        if !is_wrong {
            tried.note_right();
        }
        Ok(answer?.into_inner())
    }
}

fn read_token(headers: &HeaderMap) -> Option<Zeroizing<String>> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    is_bearer.then(|| Zeroizing::new(token.trim().to_owned()))
}

/// Returns the JSON text of a request.
pub(super) fn read_text(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<String, ScimFailure> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ScimFailure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is larger than 1 MiB: send less at once",
        ),
        _ => ScimFailure::new(StatusCode::BAD_REQUEST, "the body did not arrive whole"),
    })?;
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let known = ["application/scim+json", "application/json"];
    if !known.iter().any(|known| kind.eq_ignore_ascii_case(known)) {
        let detail = "the body is JSON: send it as application/scim+json";
        return Err(ScimFailure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    String::from_utf8(body.into())
        .map_err(|_| bowline_scim::ScimError::syntax("the body is no JSON: it is not UTF-8").into())
}
