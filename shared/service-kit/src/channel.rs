//! The client transport that every generated client is used with: into this process or over the network.

mod administration;
mod deadline;
mod remote;
mod repeats;
mod replica_health;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderValue, header};
use tokio_util::task::AbortOnDropHandle;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::{Layer, Service, ServiceExt};
use tracing::Instrument as _;

use crate::access::GuardedRoutes;
use crate::meter::{MeterLayer, MeteredRoutes};
use crate::trace::{self, TraceLayer, TracedRoutes, WorkSpan};
use crate::{AccessRules, Caller, Certificates, ServiceName, TokenVerifier, versions};
use administration::AdminConnector;
pub use administration::{AdminAddressError, trusted_authorities};
pub use remote::InvalidAddress;
use remote::ReplicaSet;
pub use repeats::IdempotencyKeys;

/// A way to a service's RPCs: `XServiceClient::new(channel.clone())`.
///
/// A call ends after ten seconds without response headers, or after the time its `grpc-timeout` allows
/// (`tonic::Request::set_timeout`); an answering stream may live on. It carries the [`RequestId`](crate::RequestId) of the
/// work that makes it. Clones share the connections.
#[derive(Clone)]
pub struct GrpcChannel {
    transport: ChannelTransport,
    /// Where calls that change something are done once, also when they are sent again.
    keys: Option<IdempotencyKeys>,
}

#[derive(Clone)]
enum ChannelTransport {
    InProcess {
        routes: LayeredRoutes,
        caller: Caller,
    },
    Deferred {
        routes: Arc<OnceLock<LayeredRoutes>>,
        caller: Caller,
    },
    Remote(ReplicaSet),
    /// Who calls is whom the token stands for.
    ByToken {
        remote: ReplicaSet,
        authorization: HeaderValue,
    },
}

impl From<ChannelTransport> for GrpcChannel {
    fn from(transport: ChannelTransport) -> Self {
        Self {
            transport,
            keys: None,
        }
    }
}

/// Routes behind the layers that calls over the network pass as well.
type LayeredRoutes = GuardedRoutes<TracedRoutes<MeteredRoutes<Routes>>>;

fn add_layers(routes: Routes, tokens: Option<TokenVerifier>) -> LayeredRoutes {
    let routes = TraceLayer.layer(MeterLayer.layer(routes.prepare()));
    AccessRules::from_declarations(tokens).layer(routes)
}

/// Services of this process that are not there yet; for services of one process that call each other.
#[derive(Clone, Default)]
pub struct DeferredServices(Arc<OnceLock<LayeredRoutes>>);

impl DeferredServices {
    /// Serves from here on those who hold a channel; identity is one of the services, and knows the tokens.
    pub fn set_routes(&self, routes: Routes) {
        // Services are made once: a second time changes nothing.
        let tokens = TokenVerifier::new(self.channel_for(Caller::Service(ServiceName::Identity)));
        drop(self.0.set(add_layers(routes, Some(tokens))));
    }

    /// Returns a channel to the services, on which `caller` calls; until they are there every call is unavailable.
    #[must_use]
    pub fn channel_for(&self, caller: Caller) -> GrpcChannel {
        GrpcChannel::from(ChannelTransport::Deferred {
            routes: Arc::clone(&self.0),
            caller,
        })
    }
}

impl GrpcChannel {
    /// Returns a channel to services of this process, on which `caller` calls. The declared access rules apply. Tokens are
    /// not taken.
    #[must_use]
    pub fn in_process(routes: Routes, caller: Caller) -> Self {
        let routes = add_layers(routes, None);
        Self::from(ChannelTransport::InProcess { routes, caller })
    }

    /// Returns a channel to the replicas of a service, each `host:port`, proven by certificates both ways.
    ///
    /// Connects at the first call, and again when a connection breaks. A call goes to the replicas in turn, past
    /// those that could not be reached, or did not answer in time, a moment ago.
    ///
    /// # Errors
    ///
    /// When an address does not parse, or there is none.
    pub fn remote(
        service: ServiceName,
        addresses: &[String],
        certificates: &Certificates,
    ) -> Result<Self, InvalidAddress> {
        ReplicaSet::new(service, addresses, certificates)
            .map(ChannelTransport::Remote)
            .map(Self::from)
    }

    /// Returns a channel to the administration address `host:port` of a gateway, for whom a token stands. The gateway is
    /// proven by the authority in a file, or by one that the system trusts.
    ///
    /// # Errors
    ///
    /// What is wrong with the address, the file or the token.
    pub fn administration(
        address: &str,
        authority: Option<&Path>,
        token: &str,
    ) -> Result<Self, AdminAddressError> {
        let connector = AdminConnector::new(address, authority)?;
        let authorization = HeaderValue::try_from(format!("Bearer {token}"));
        let mut authorization = authorization.map_err(|_| AdminAddressError::Token)?;
        authorization.set_sensitive(true);
        Ok(Self::from(ChannelTransport::ByToken {
            remote: ReplicaSet::at_administration(address, &connector)?,
            authorization,
        }))
    }

    /// Gives each call of an administrator that changes something an idempotency key, and sends it once more when its answer is
    /// lost: it is done once.
    #[must_use]
    pub fn with_idempotency_keys(self, keys: IdempotencyKeys) -> Self {
        Self {
            keys: Some(keys),
            ..self
        }
    }

    /// Returns a channel to the admin socket at `path`.
    #[must_use]
    pub fn admin_socket(path: impl Into<std::path::PathBuf>) -> Self {
        Self::from(ChannelTransport::Remote(ReplicaSet::at_admin_socket(
            path.into(),
        )))
    }
}

impl Service<http::Request<Body>> for GrpcChannel {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        if let Some(keys) = &self.keys
            && repeats::takes_key(request.uri().path())
        {
            let once = Self::from(self.transport.clone());
            return repeats::send_until_answered(once, keys.next_key(), request).boxed();
        }
        let call = trace::write_header(&mut request);
        let answer = self.send_request(request);
        if call.is_recorded() {
            record_answer(call, answer).boxed()
        } else {
            answer
        }
    }
}

impl GrpcChannel {
    fn send_request(
        &self,
        mut request: http::Request<Body>,
    ) -> BoxFuture<'static, Result<http::Response<Body>, Status>> {
        let limit = deadline::call_limit(request.headers());
        let span = tracing::debug_span!("call", path = request.uri().path());
        let answer = match &self.transport {
            ChannelTransport::InProcess { routes, caller } => {
                request.extensions_mut().insert(caller.clone());
                spawn_isolated(routes.clone().oneshot(request)).boxed()
            }
            ChannelTransport::Deferred { routes, caller } => match routes.get() {
                Some(routes) => {
                    request.extensions_mut().insert(caller.clone());
                    spawn_isolated(routes.clone().oneshot(request)).boxed()
                }
                None => {
                    let starting = Status::unavailable("the service is starting");
                    std::future::ready(Err(starting)).boxed()
                }
            },
            ChannelTransport::ByToken {
                remote,
                authorization,
            } => {
                let headers = request.headers_mut();
                headers.insert(header::AUTHORIZATION, authorization.clone());
                let answer = remote.clone().call(request, limit);
                return answer.instrument(span).boxed();
            }
            // It ends in time by itself, to know whose fault it was.
            ChannelTransport::Remote(remote) => {
                versions::write_header(request.headers_mut());
                let answer = remote.clone().call(request, limit);
                return answer.instrument(span).boxed();
            }
        };
        deadline::enforce_limit(limit, answer)
            .instrument(span)
            .boxed()
    }
}

/// Notes in a call's span how it is answered; the span ends there, also for a stream.
async fn record_answer(
    mut call: WorkSpan,
    answer: impl Future<Output = Result<http::Response<Body>, Status>>,
) -> Result<http::Response<Body>, Status> {
    let answer = answer.await;
    call.note_code(match &answer {
        Ok(answer) => {
            Status::from_header_map(answer.headers()).map_or(Code::Ok, |status| status.code())
        }
        Err(status) => status.code(),
    });
    answer
}

/// Runs a call into this process as a task of its own, which ends with its caller: services that call each other in
/// turn then need no deeper stack than one, and one that panics fails its caller as a remote one does.
#[expect(
    clippy::disallowed_methods,
    reason = "it is waited for, and ends with whoever waits"
)]
async fn spawn_isolated(
    answer: impl Future<Output = Result<http::Response<Body>, Infallible>> + Send + 'static,
) -> Result<http::Response<Body>, Status> {
    match AbortOnDropHandle::new(tokio::spawn(answer)).await {
        Ok(answer) => answer.map_err(|never| match never {}),
        // Only a runtime that ends does that.
        Err(error) if error.is_cancelled() => Err(Status::unavailable("the service is ending")),
        Err(error) => {
            tracing::error!(%error, "a call within this process was cut short");
            Err(Status::internal("the service failed"))
        }
    }
}

impl fmt::Debug for GrpcChannel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            ChannelTransport::InProcess { caller, .. }
            | ChannelTransport::Deferred { caller, .. } => {
                write!(formatter, "GrpcChannel(as {caller})")
            }
            ChannelTransport::Remote(remote) | ChannelTransport::ByToken { remote, .. } => {
                write!(formatter, "GrpcChannel({remote:?})")
            }
        }
    }
}
