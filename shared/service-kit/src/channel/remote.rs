//! Calls over the network: one connection to each replica, the next one when a replica can not be reached.
//!
//! A replica that can not be reached, or that does not answer in time, is passed over: see [`ReplicaHealth`].

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Uri;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tonic::{ConnectError, Status, TimeoutExpired};
use tower::{Service, ServiceExt};

use super::administration::{AdminAddressError, AdminConnector};
use super::deadline;
use super::replica_health::ReplicaHealth;
use crate::certificates::connect_trusted;
use crate::server::WINDOWS;
use crate::{Certificates, ServiceName};

/// An address list that is empty, or has an address that is not `host:port`.
#[derive(Debug, thiserror::Error)]
#[error("\"{address}\" is not an address of {service}: expected host:port")]
pub struct InvalidAddress {
    service: ServiceName,
    address: String,
}

/// The replicas of a service.
#[derive(Clone)]
pub(super) struct ReplicaSet {
    replicas: Arc<[ReplicaChannel]>,
    next: Arc<AtomicUsize>,
}

struct ReplicaChannel {
    channel: Channel,
    address: String,
    /// A plain mutex: read and written, never held across an await.
    standing: Mutex<ReplicaHealth>,
}

impl ReplicaSet {
    pub(super) fn new(
        service: ServiceName,
        addresses: &[String],
        certificates: &Certificates,
    ) -> Result<Self, InvalidAddress> {
        let invalid = |address: &str| InvalidAddress {
            service,
            address: address.to_owned(),
        };
        if addresses.is_empty() {
            return Err(invalid(""));
        }
        let replicas = addresses.iter().map(|address| {
            // TLS is spoken by the connector, which takes the certificates of the moment.
            let endpoint = Endpoint::from_shared(format!("http://{address}"))
                .ok()
                .filter(|endpoint| endpoint.uri().port_u16().is_some())
                .ok_or_else(|| invalid(address))?;
            let (host, certificates) = (address.clone(), certificates.clone());
            let connector = tower::service_fn(move |_| {
                connect_trusted(host.clone(), service, certificates.clone())
            });
            Ok(ReplicaChannel::new(address, &endpoint, connector))
        });
        Ok(Self {
            replicas: replicas.collect::<Result<_, _>>()?,
            next: Arc::default(),
        })
    }

    pub(super) fn at_administration(
        address: &str,
        connector: &AdminConnector,
    ) -> Result<Self, AdminAddressError> {
        let (endpoint, connector) = (connector.endpoint()?, connector.clone());
        let connect = tower::service_fn(move |_| connector.clone().connect());
        Ok(Self {
            replicas: Arc::new([ReplicaChannel::new(address, &endpoint, connect)]),
            next: Arc::default(),
        })
    }

    pub(super) fn at_admin_socket(path: PathBuf) -> Self {
        let address = path.display().to_string();
        let endpoint = Endpoint::from_static("http://admin.bowline.internal");
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move {
                tokio::net::UnixStream::connect(path)
                    .await
                    .map(TokioIo::new)
            }
        });
        let channel = endpoint.connect_with_connector_lazy(connector);
        let replica = ReplicaChannel {
            channel,
            address,
            standing: Mutex::default(),
        };
        Self {
            replicas: Arc::new([replica]),
            next: Arc::default(),
        }
    }

    /// Sends a call to the next replica, and on to another while one refuses the connection; ends within `limit`.
    pub(super) async fn call(
        self,
        request: http::Request<Body>,
        limit: Duration,
    ) -> Result<http::Response<Body>, Status> {
        let deadline = Instant::now() + limit;
        let (parts, body) = request.into_parts();
        // Requests are single messages; whole, they can be sent again.
        let body = body.collect().await?.to_bytes();
        let mut refusal = Status::unavailable("no replica is known");
        for replica in self.replicas_in_turn() {
            let body = Body::new(Full::new(body.clone()));
            let request = http::Request::from_parts(parts.clone(), body);
            replica.lock_health().note_attempt(Instant::now());
            let answer = replica.channel.clone().oneshot(request);
            match timeout_at(deadline, answer).await {
                Ok(Ok(answer)) => {
                    replica.lock_health().note_answer();
                    return Ok(answer);
                }
                Ok(Err(error)) if has_cause::<ConnectError>(&error) => {
                    tracing::debug!(address = replica.address, %error, "replica not reached");
                    replica.lock_health().note_failure(Instant::now());
                    refusal =
                        Status::unavailable(format!("{} can not be reached", replica.address));
                }
                Ok(Err(error)) if !has_cause::<TimeoutExpired>(&error) => {
                    return Err(Status::unavailable(format!("connection lost: {error}")));
                }
                _ => {
                    // Perhaps it does what it was asked all the same: nobody else is asked.
                    tracing::debug!(address = replica.address, "no answer in time");
                    replica.lock_health().note_failure(Instant::now());
                    return Err(deadline::late_status());
                }
            }
        }
        Err(refusal)
    }

    /// Returns the replicas, starting one later each time, those that are passed over last.
    fn replicas_in_turn(&self) -> Vec<&ReplicaChannel> {
        let start = self.next.fetch_add(1, Ordering::Relaxed) % self.replicas.len();
        let now = Instant::now();
        let mut turn: Vec<_> = self.replicas[start..]
            .iter()
            .chain(&self.replicas[..start])
            .collect();
        turn.sort_by_key(|replica| replica.lock_health().is_down(now));
        turn
    }
}

impl ReplicaChannel {
    fn new<C, S>(address: &str, endpoint: &Endpoint, connector: C) -> Self
    where
        C: Service<Uri, Response = TokioIo<S>, Error = std::io::Error> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        C::Future: Send,
    {
        let endpoint = endpoint
            .clone()
            .connect_timeout(Duration::from_secs(2))
            .initial_stream_window_size(WINDOWS.0)
            .initial_connection_window_size(WINDOWS.1)
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true);
        let (channel, address) = (
            endpoint.connect_with_connector_lazy(connector),
            address.to_owned(),
        );
        Self {
            channel,
            address,
            standing: Mutex::default(),
        }
    }

    fn lock_health(&self) -> MutexGuard<'_, ReplicaHealth> {
        self.standing.lock()
    }
}

/// Tells whether an error has a cause of this kind; [`ConnectError`]: the request can not have reached anybody.
fn has_cause<E: Error + 'static>(error: &tonic::transport::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<E>() {
            return true;
        }
        cause = error.source();
    }
    false
}

impl fmt::Debug for ReplicaSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_list()
            .entries(self.replicas.iter().map(|replica| &replica.address))
            .finish()
    }
}
