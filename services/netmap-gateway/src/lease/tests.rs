use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bowline_bus::Bus;
use bowline_control_wire::DerpMap;
use bowline_ids::TailnetId;
use bowline_netmap::FilterSources;
use bowline_netmap::fixture::node_id;
use bowline_proto::{
    changes::v1::{ChangesSinceRequest, HeadsRequest, HeadsResponse, SnapshotRequest},
    key_registry::v1::{
        RegistryChanges, RegistrySnapshot, RenewLeaseResponse, ReportNodesRequest,
        ReportNodesResponse, ReportProgressResponse, ResolveNodeNumberRequest, ResolveNodeRequest,
        ResolveNodeResponse, SetOwnAttributesRequest, SetOwnAttributesResponse,
        key_registry_service_server::{KeyRegistryService, KeyRegistryServiceServer},
    },
};
use bowline_service_kit::{Caller, DeferredServices, ServiceName, Shutdown};
use futures_util::stream::BoxStream;
use tonic::{Response, Status, service::Routes};

use super::*;
use crate::Backends;

/// A registry that records leases at once, and progress only while it may.
#[derive(Debug, Default)]
struct Recording {
    may_record: AtomicBool,
    /// Whether it is of an earlier release, which is told with the lease.
    is_older: AtomicBool,
    renewals: AtomicUsize,
    tries: AtomicUsize,
    told: Mutex<Vec<ReportProgressRequest>>,
}

#[derive(Clone, Debug)]
struct Registry(Arc<Recording>);

#[tonic::async_trait]
impl KeyRegistryService for Registry {
    type SnapshotStream = BoxStream<'static, Result<RegistrySnapshot, Status>>;

    async fn renew_lease(
        &self,
        request: Request<RenewLeaseRequest>,
    ) -> Result<Response<RenewLeaseResponse>, Status> {
        let request = request.into_inner();
        let has_progress = !request.applied.is_empty() || !request.dropped.is_empty();
        if has_progress {
            assert!(self.0.is_older.load(Ordering::SeqCst), "a lease is one row");
            let told = request.applied.iter().map(|head| TailnetProgress {
                tailnet_id: head.tailnet_id,
                registry_revision: head.revision,
                identity_revision: 0,
            });
            self.0.told.lock().unwrap().push(ReportProgressRequest {
                progress: told.collect(),
                dropped: request.dropped,
                ..ReportProgressRequest::default()
            });
        }
        let before = self.0.renewals.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(RenewLeaseResponse {
            lapsed: before == 0,
            ..RenewLeaseResponse::default()
        }))
    }

    async fn report_progress(
        &self,
        request: Request<ReportProgressRequest>,
    ) -> Result<Response<ReportProgressResponse>, Status> {
        self.0.tries.fetch_add(1, Ordering::SeqCst);
        if self.0.is_older.load(Ordering::SeqCst) {
            return Err(Status::unimplemented("unknown method"));
        }
        if !self.0.may_record.load(Ordering::SeqCst) {
            // Longer than anybody waits.
            std::future::pending::<()>().await;
        }
        self.0.told.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ReportProgressResponse {}))
    }

    async fn resolve_node_number(
        &self,
        _: Request<ResolveNodeNumberRequest>,
    ) -> Result<Response<ResolveNodeResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn resolve_node(
        &self,
        _: Request<ResolveNodeRequest>,
    ) -> Result<Response<ResolveNodeResponse>, Status> {
        Err(Status::unavailable("not here"))
    }

    async fn set_own_attributes(
        &self,
        _: Request<SetOwnAttributesRequest>,
    ) -> Result<Response<SetOwnAttributesResponse>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn report_nodes(
        &self,
        _: Request<ReportNodesRequest>,
    ) -> Result<Response<ReportNodesResponse>, Status> {
        Err(Status::unavailable("not here"))
    }

    async fn heads(&self, _: Request<HeadsRequest>) -> Result<Response<HeadsResponse>, Status> {
        Err(Status::unavailable("not here"))
    }

    async fn changes_since(
        &self,
        _: Request<ChangesSinceRequest>,
    ) -> Result<Response<RegistryChanges>, Status> {
        Err(Status::unavailable("not here"))
    }

    async fn snapshot(
        &self,
        _: Request<SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(Status::unavailable("not here"))
    }
}

struct TestLease {
    recording: Arc<Recording>,
    hub: Arc<TailnetHub>,
    lease: Lease,
    tasks: Tasks,
    registry: GrpcChannel,
}

impl TestLease {
    fn new() -> Self {
        let recording = Arc::<Recording>::default();
        let mut routes = Routes::builder();
        routes.add_service(KeyRegistryServiceServer::new(Registry(Arc::clone(
            &recording,
        ))));
        let services = DeferredServices::default();
        services.set_routes(routes.routes());
        let registry = services.channel_for(Caller::Service(ServiceName::NetmapGateway));
        let nobody = || GrpcChannel::admin_socket("/nonexistent/bowline.sock");
        let backends = Backends {
            identity: nobody(),
            identity_for_waits: nobody(),
            registry: registry.clone(),
            compiler: nobody(),
        };
        let tasks = Tasks::new(Shutdown::new(Duration::ZERO));
        let (relays, sources) = (DerpMap::default(), FilterSources::Addresses);
        let hub = Arc::new(TailnetHub::new(
            &backends,
            &Bus::in_process(),
            relays,
            sources,
            &tasks,
        ));
        let facts = LeaseFacts {
            gateway: "g".to_owned(),
            slot: String::new(),
            max_staleness: Duration::from_secs(60),
            keys: Arc::new(CurrentControlKeys::generate()),
        };
        let lease = Lease::new(facts, registry.clone());
        Self {
            recording,
            hub,
            lease,
            tasks,
            registry,
        }
    }

    fn keep(&self) -> LeaseRenewals {
        let reporter = Reporter::start("g".to_owned(), self.registry.clone(), &self.tasks);
        let leaving = CancellationToken::new();
        self.lease
            .clone()
            .keep_renewed(Arc::clone(&self.hub), reporter, leaving, &self.tasks)
    }
}

fn id(number: u64) -> TailnetId {
    TailnetId::try_from(number).unwrap()
}

#[tokio::test(start_paused = true)]
async fn lease_is_renewed_though_thousands_of_tailnets_can_not_be_told() {
    let test = TestLease::new();
    // Nobody follows them: what is told is that they are not held.
    test.hub.progress_queue().report_again((1..=2500).map(id));
    let held = test.hub.tailnet(id(2501));
    let mut renewed = test.keep();
    for _ in 0..10 {
        renewed.changed().await.unwrap();
    }
    let tries = test.recording.tries.load(Ordering::SeqCst);
    assert!(tries > 1, "it is tried again");
    test.recording.may_record.store(true, Ordering::SeqCst);
    let is_told = || {
        let told = test.recording.told.lock().unwrap();
        told.last().is_some_and(|last| last.complete)
    };
    while !is_told() {
        renewed.changed().await.unwrap();
    }
    let told = test.recording.told.lock().unwrap();
    let sizes: Vec<_> = told
        .iter()
        .map(|part| (part.dropped.len(), part.progress.len()))
        .collect();
    assert_eq!(sizes, [(1000, 0), (1000, 0), (500, 1)], "each is told once");
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn registry_of_an_earlier_release_hears_of_progress_with_the_lease() {
    let test = TestLease::new();
    test.recording.is_older.store(true, Ordering::SeqCst);
    test.hub.progress_queue().report_again((1..=1500).map(id));
    let held = test.hub.tailnet(id(1501));
    let mut renewed = test.keep();
    let sizes = || {
        let told = test.recording.told.lock().unwrap();
        let size = |part: &ReportProgressRequest| (part.dropped.len(), part.progress.len());
        told.iter().map(size).collect::<Vec<_>>()
    };
    while sizes().len() < 2 {
        renewed.changed().await.unwrap();
    }
    assert_eq!(sizes()[..2], [(1000, 0), (500, 1)]);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn sessions_of_a_gateway_that_reaches_nobody_end_when_they_may_not_begin_either() {
    let test = TestLease::new();
    let tailnet = test.hub.tailnet(id(1));
    let (renew, renewed) = watch::channel(Some(Instant::now()));
    let ending = end_stale_sessions(Arc::clone(&test.hub), renewed, Duration::from_secs(60));
    test.tasks.spawn_background("end-stale", ending);
    let slot = tailnet.sessions.take_slot(node_id(7), 0);
    let (_epoch, own) = watch::channel(0);
    let wait = Duration::from_secs(50);
    assert!(
        time::timeout(wait, slot.wait_until_lost(own.clone()))
            .await
            .is_err()
    );
    renew.send_replace(Some(Instant::now() + wait));
    assert!(
        time::timeout(wait, slot.wait_until_lost(own.clone()))
            .await
            .is_err(),
        "it was renewed"
    );
    assert!(
        time::timeout(wait, slot.wait_until_lost(own.clone()))
            .await
            .is_ok()
    );
    assert!(slot.is_held(), "its end is reported");
}
