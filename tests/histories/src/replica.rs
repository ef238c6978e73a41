//! A replica of the key registry that can crash, and what it takes that calls between replicas end as over a network.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
};
use bowline_db::Database;
use bowline_key_registry::{AskedServices, KeyRegistry, RegistryConfig};
use bowline_service_kit::{DeferredServices, Shutdown, Tasks};
use parking_lot::Mutex;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, service::Routes};
use tower::ServiceExt as _;

use crate::services::ReplicaBase;

/// The header that says how often a call is looked at before its caller goes away.
pub(crate) const LOOKS: &str = "test-looks";

/// A replica that runs.
struct RunningReplica {
    router: Router,
    /// Everything of it runs here, and ends with it.
    runtime: Runtime,
}

/// A replica, whether it runs or not.
pub(crate) struct RegistryReplica {
    running: Arc<Mutex<Option<RunningReplica>>>,
    channels: DeferredServices,
}

impl RegistryReplica {
    /// Returns a replica that does not run yet.
    pub(crate) fn new() -> Self {
        let replica = Self {
            running: Arc::default(),
            channels: DeferredServices::default(),
        };
        replica
            .channels
            .set_routes(lead_to(vec![Arc::clone(&replica.running)]));
        replica
    }

    /// Returns the way to it.
    pub(crate) fn channels(&self) -> &DeferredServices {
        &self.channels
    }

    /// Starts it.
    pub(crate) async fn start(&self, base: ReplicaBase, services: AskedServices) {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().unwrap();
        let starting = runtime.spawn(async move {
            let database = Database::open(&base.url, base.options).await.unwrap();
            let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
            let config = RegistryConfig::default();
            let registry = KeyRegistry::assemble(database, &config, services, &base.bus, &tasks);
            let mut routes = Routes::builder();
            registry.add_to(&mut routes);
            routes.routes().into_axum_router()
        });
        let router = starting.await.unwrap();
        *self.running.lock() = Some(RunningReplica { router, runtime });
    }

    /// Ends it in the middle of what it does: every task of it is dropped where it waits.
    pub(crate) fn crash(&self) {
        let running = self.running.lock().take();
        if let Some(RunningReplica { runtime, .. }) = running {
            runtime.shutdown_background();
        }
    }
}

impl Drop for RegistryReplica {
    fn drop(&mut self) {
        self.crash();
    }
}

/// Returns the way to whichever of the replicas runs.
pub(crate) fn channels_to_any(replicas: &[RegistryReplica]) -> DeferredServices {
    let channels = DeferredServices::default();
    let slots = replicas.iter().map(|replica| Arc::clone(&replica.running));
    channels.set_routes(lead_to(slots.collect()));
    channels
}

/// Returns routes that lead to the first of these replicas that runs, each call on the replica's own runtime.
fn lead_to(slots: Vec<Arc<Mutex<Option<RunningReplica>>>>) -> Routes {
    let answer = move |request: Request| {
        let found = slots.iter().find_map(|slot| {
            let running = slot.lock();
            let running = running.as_ref()?;
            Some((running.router.clone(), running.runtime.handle().clone()))
        });
        async move {
            let Some((router, handle)) = found else {
                return lost_answer();
            };
            let looks = request.headers().get(LOOKS);
            let looks = looks.and_then(|looks| looks.to_str().ok()?.parse().ok());
            let call = AbandonedCall {
                call: Box::pin(router.oneshot(request)),
                looks: looks.unwrap_or(u32::MAX),
            };
            let answered = AbortOnDropHandle::new(handle.spawn(call)).await;
            match answered {
                Ok(Some(Ok(answer))) => answer,
                _ => lost_answer(),
            }
        }
    };
    Router::new().fallback(answer).into()
}

/// Returns what a caller sees of an answer that does not arrive.
fn lost_answer() -> Response {
    let lost = Status::unavailable("the answer is lost").into_http::<tonic::body::Body>();
    lost.map(axum::body::Body::new)
}

/// A call whose caller goes away after it was looked at so often: then it is dropped where it waits.
struct AbandonedCall<F> {
    call: Pin<Box<F>>,
    looks: u32,
}

impl<F: Future> Future for AbandonedCall<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(answer) = self.call.as_mut().poll(context) {
            return Poll::Ready(Some(answer));
        }
        self.looks -= 1;
        match self.looks {
            0 => Poll::Ready(None),
            _ => Poll::Pending,
        }
    }
}

/// Lets calls run on this runtime, whoever makes them: what they hold must not end with a replica.
pub(crate) fn keep_on(handle: Handle, routes: Routes) -> Routes {
    let hop = move |request: Request, next: Next| {
        let running = AbortOnDropHandle::new(handle.spawn(next.run(request)));
        async move { running.await.unwrap_or_else(|_| lost_answer()) }
    };
    routes.into_axum_router().layer(from_fn(hop)).into()
}
