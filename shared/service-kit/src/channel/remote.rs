//! Calls over the network: one connection to each replica, the next one when a replica can not be reached.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tonic::{ConnectError, Status};
use tower::ServiceExt;

use crate::server::WINDOWS;
use crate::{Certificates, ServiceName};

/// How long a replica that could not be reached is passed over.
const DOWN: Duration = Duration::from_secs(1);

/// An address list that is empty, or has an address that is not `host:port`.
#[derive(Debug, thiserror::Error)]
#[error("\"{address}\" is not an address of {service}: expected host:port")]
pub struct InvalidAddress {
    service: ServiceName,
    address: String,
}

/// The replicas of a service.
#[derive(Clone)]
pub(super) struct Remote {
    replicas: Arc<[Replica]>,
    next: Arc<AtomicUsize>,
}

struct Replica {
    channel: Channel,
    address: String,
    /// A plain mutex: read and written, never held across an await.
    down_until: Mutex<Option<Instant>>,
}

impl Remote {
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
            let endpoint = Endpoint::from_shared(format!("https://{address}"))
                .and_then(|endpoint| endpoint.tls_config(certificates.client_tls(service)))
                .map_err(|_| invalid(address))?;
            Ok(Replica::new(address, &endpoint))
        });
        Ok(Self {
            replicas: replicas.collect::<Result<_, _>>()?,
            next: Arc::default(),
        })
    }

    pub(super) fn unix(path: PathBuf) -> Self {
        let address = path.display().to_string();
        let endpoint = Endpoint::from_static("http://admin.bowline.internal");
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move {
                tokio::net::UnixStream::connect(path)
                    .await
                    .map(hyper_util::rt::TokioIo::new)
            }
        });
        let channel = endpoint.connect_with_connector_lazy(connector);
        let replica = Replica {
            channel,
            address,
            down_until: Mutex::new(None),
        };
        Self {
            replicas: Arc::new([replica]),
            next: Arc::default(),
        }
    }

    /// Sends a call to the next replica, and on to another while one refuses the connection.
    pub(super) async fn call(
        self,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, Status> {
        let (parts, body) = request.into_parts();
        // Requests are single messages; whole, they can be sent again.
        let body = body.collect().await?.to_bytes();
        let mut refusal = Status::unavailable("no replica is known");
        for replica in self.in_turn() {
            let body = Body::new(Full::new(body.clone()));
            let request = http::Request::from_parts(parts.clone(), body);
            match replica.channel.clone().oneshot(request).await {
                Ok(answer) => {
                    replica.mark(None);
                    return Ok(answer);
                }
                Err(error) if never_connected(&error) => {
                    tracing::debug!(address = replica.address, %error, "replica not reached");
                    replica.mark(Some(Instant::now() + DOWN));
                    refusal =
                        Status::unavailable(format!("{} can not be reached", replica.address));
                }
                Err(error) => return Err(Status::unavailable(format!("connection lost: {error}"))),
            }
        }
        Err(refusal)
    }

    /// Returns the replicas, starting one later each time, those not reached a moment ago last.
    fn in_turn(&self) -> Vec<&Replica> {
        let start = self.next.fetch_add(1, Ordering::Relaxed) % self.replicas.len();
        let now = Instant::now();
        let mut turn: Vec<_> = self.replicas[start..]
            .iter()
            .chain(&self.replicas[..start])
            .collect();
        turn.sort_by_key(|replica| replica.is_down(now));
        turn
    }
}

impl Replica {
    fn new(address: &str, endpoint: &Endpoint) -> Self {
        let endpoint = endpoint
            .clone()
            .connect_timeout(Duration::from_secs(2))
            .tcp_nodelay(true)
            .initial_stream_window_size(WINDOWS.0)
            .initial_connection_window_size(WINDOWS.1)
            .http2_keep_alive_interval(Duration::from_secs(5))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true);
        let (channel, address) = (endpoint.connect_lazy(), address.to_owned());
        Self {
            channel,
            address,
            down_until: Mutex::new(None),
        }
    }

    fn mark(&self, down_until: Option<Instant>) {
        *self
            .down_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = down_until;
    }

    fn is_down(&self, now: Instant) -> bool {
        let until = self
            .down_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| until > now)
    }
}

/// Tells whether the request can not have reached anybody.
fn never_connected(error: &tonic::transport::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

impl fmt::Debug for Remote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_list()
            .entries(self.replicas.iter().map(|replica| &replica.address))
            .finish()
    }
}
