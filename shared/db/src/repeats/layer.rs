//! The layer around an owner's services that answers a repeat with what was answered first.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bowline_proto::access::{IDEMPOTENCY_KEY, find_rule};
use bowline_service_kit::{Caller, Tasks, to_status};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either};
use http::{Request, Response, request};
use http_body_util::{BodyExt as _, Limited};
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use super::call::KeyedCall;
use super::error::RepeatError;
use super::{frame, rows};
use crate::{Database, DatabaseError};

/// The longest request, in bytes: a policy, and what travels with it.
const LONGEST_REQUEST: usize = 17 << 20;
/// How long between two looks for answers that are old.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Keeps the answers of an owner's services in its database. Clones share it.
#[derive(Clone, Debug)]
pub struct AnswerKeeper {
    database: Database,
}

impl AnswerKeeper {
    /// Returns a keeper, which forgets in the background what is a day old.
    #[must_use]
    pub fn start(database: Database, tasks: &Tasks) -> Self {
        let keeper = Self { database };
        tasks.spawn_background("forget-answers", keeper.clone().sweep());
        keeper
    }

    /// Puts the layer around a service.
    pub fn around<S>(&self, service: S) -> RepeatableService<S> {
        RepeatableService {
            keeper: self.clone(),
            service,
        }
    }

    /// Forgets answers that are a day old; returns how many.
    ///
    /// # Errors
    ///
    /// [`DatabaseError`] when the database can not answer.
    pub async fn forget_old(&self) -> Result<u64, DatabaseError> {
        rows::forget_old(&self.database).await
    }

    async fn sweep(self) {
        loop {
            if let Err(error) = self.forget_old().await {
                tracing::warn!(%error, "kept answers can not be forgotten");
            }
            tokio::time::sleep(SWEEP_INTERVAL).await;
        }
    }
}

/// A service whose calls are done once for each idempotency key, where administrators send one with what changes something.
#[derive(Clone, Debug)]
pub struct RepeatableService<S> {
    keeper: AnswerKeeper,
    service: S,
}

impl<S: NamedService> NamedService for RepeatableService<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for RepeatableService<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, BoxFuture<'static, Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(caller) = keyed_caller(&request) else {
            return Either::Left(self.service.call(request));
        };
        let (database, service) = (self.keeper.database.clone(), self.service.clone());
        let answer = async move {
            let answer = answer_once(&database, service, caller, request).await;
            Ok(answer.unwrap_or_else(|error| to_status(&error).into_http()))
        };
        Either::Right(answer.boxed())
    }
}

/// Returns who makes a call with a key that counts: what services and reads send is passed over.
fn keyed_caller(request: &Request<Body>) -> Option<Caller> {
    if !request.headers().contains_key(IDEMPOTENCY_KEY) {
        return None;
    }
    let rule = find_rule(request.uri().path())?;
    let caller = request.extensions().get::<Caller>()?;
    let is_service = matches!(caller, Caller::Service(_));
    (rule.takes_idempotency_key() && !is_service).then(|| caller.clone())
}

/// Answers a call, or what was answered before.
async fn answer_once<S>(
    database: &Database,
    mut service: S,
    caller: Caller,
    request: Request<Body>,
) -> Result<Response<Body>, RepeatError>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let (mut parts, body) = request.into_parts();
    let body = Limited::new(body, LONGEST_REQUEST).collect().await;
    let body = body.map_err(|_| RepeatError::Request(LONGEST_REQUEST))?;
    let body = body.to_bytes();
    let call = KeyedCall::read(&parts.headers, &caller, parts.uri.path(), &body)?;
    let call = Arc::new(call);
    parts.headers.remove(IDEMPOTENCY_KEY);
    if let Some(answer) = answer_repeat(database, &mut service, &call, &parts, &body).await? {
        return Ok(answer);
    }
    let answer = run_handler(&mut service, &call, &parts, &body).await;
    match call.take_refusal() {
        None => Ok(answer),
        // Another call with the key was faster, and is committed by now.
        Some(RepeatError::Busy) => answer_repeat(database, &mut service, &call, &parts, &body)
            .await?
            .ok_or(RepeatError::Busy),
        Some(refusal) => Err(refusal),
    }
}

/// Answers what was kept of a call that is made again; `None`: it was not made.
async fn answer_repeat<S>(
    database: &Database,
    service: &mut S,
    call: &Arc<KeyedCall>,
    parts: &request::Parts,
    body: &Bytes,
) -> Result<Option<Response<Body>>, RepeatError>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let Some(row) = rows::find(database, call.id()).await? else {
        return Ok(None);
    };
    let kept = call.open_row(&row)?;
    tracing::info!(path = parts.uri.path(), "a call is repeated");
    if !kept.is_part {
        return Ok(Some(frame::answer_with(&kept.answer)));
    }
    call.set_kept(kept);
    let answer = run_handler(service, call, parts, body).await;
    // What has changed since then may refuse the call before it comes to its change: that was made.
    Ok(Some(
        call.left_kept()
            .map_or(answer, |kept| frame::answer_with(&kept.answer)),
    ))
}

async fn run_handler<S>(
    service: &mut S,
    call: &Arc<KeyedCall>,
    parts: &request::Parts,
    body: &Bytes,
) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let request = Request::from_parts(parts.clone(), frame::body_of(body));
    let answer = Arc::clone(call).scope(service.call(request)).await;
    answer.unwrap_or_else(|never| match never {})
}
