//! The client transport that every generated client is used with: into this process or over the network.

mod deadline;
mod remote;
mod standing;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::{Layer, Service, ServiceExt};

use crate::access::Guarded;
use crate::meter::{Meter, Metered};
use crate::{Access, Caller, Certificates, ServiceName};
pub use remote::InvalidAddress;
use remote::Remote;

/// A way to a service's RPCs: `XServiceClient::new(channel.clone())`.
///
/// A call ends after ten seconds without response headers, or after the time its `grpc-timeout` allows
/// (`tonic::Request::set_timeout`); an answering stream may live on. Clones share the connections.
#[derive(Clone)]
pub struct GrpcChannel(Transport);

#[derive(Clone)]
enum Transport {
    InProcess {
        routes: Guarded<Metered<Routes>>,
        caller: Caller,
    },
    Later {
        routes: Arc<OnceLock<Guarded<Routes>>>,
        caller: Caller,
    },
    Remote(Remote),
}

/// Services of this process that are not there yet; for services of one process that call each other.
#[derive(Clone, Default)]
pub struct Later(Arc<OnceLock<Guarded<Routes>>>);

impl Later {
    /// Serves from here on those who hold a channel.
    pub fn serve(&self, routes: Routes) {
        // Services are made once: a second time changes nothing.
        drop(self.0.set(Access::declared().layer(routes.prepare())));
    }

    /// Returns a channel to the services, on which `caller` calls; until they are there every call is unavailable.
    #[must_use]
    pub fn channel(&self, caller: Caller) -> GrpcChannel {
        GrpcChannel(Transport::Later {
            routes: Arc::clone(&self.0),
            caller,
        })
    }
}

impl GrpcChannel {
    /// Returns a channel to services of this process, on which `caller` calls. The declared access rules apply.
    #[must_use]
    pub fn in_process(routes: Routes, caller: Caller) -> Self {
        let routes = Access::declared().layer(Meter.layer(routes.prepare()));
        Self(Transport::InProcess { routes, caller })
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
        Remote::new(service, addresses, certificates)
            .map(Transport::Remote)
            .map(Self)
    }

    /// Returns a channel to the admin socket at `path`.
    #[must_use]
    pub fn admin_socket(path: impl Into<std::path::PathBuf>) -> Self {
        Self(Transport::Remote(Remote::unix(path.into())))
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
        let limit = deadline::of(request.headers());
        let answer = match &self.0 {
            Transport::InProcess { routes, caller } => {
                request.extensions_mut().insert(caller.clone());
                apart(routes.clone().oneshot(request)).boxed()
            }
            Transport::Later { routes, caller } => match routes.get() {
                Some(routes) => {
                    request.extensions_mut().insert(caller.clone());
                    apart(routes.clone().oneshot(request)).boxed()
                }
                None => {
                    let starting = Status::unavailable("the service is starting");
                    std::future::ready(Err(starting)).boxed()
                }
            },
            // It ends in time by itself, to know whose fault it was.
            Transport::Remote(remote) => return remote.clone().call(request, limit).boxed(),
        };
        deadline::enforce(limit, answer).boxed()
    }
}

/// Runs a call into this process as a task of its own, which ends with its caller: services that call each other in
/// turn then need no deeper stack than one, and one that panics fails its caller as a remote one does.
#[expect(
    clippy::disallowed_methods,
    reason = "it is waited for, and ends with whoever waits"
)]
async fn apart(
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
        match &self.0 {
            Transport::InProcess { caller, .. } | Transport::Later { caller, .. } => {
                write!(formatter, "GrpcChannel(as {caller})")
            }
            Transport::Remote(remote) => write!(formatter, "GrpcChannel({remote:?})"),
        }
    }
}
