use std::sync::Arc;

use bowline_bus::Bus;
use bowline_clock::{ManualClock, SharedClock};
use bowline_db::{ChangeLog, Database, DatabaseOptions};
use bowline_ids::TailnetId;
use bowline_proto::{
    changes::v1::{ChangesSinceRequest, Head},
    key_registry::v1::{
        ClientReport, HostReport, NodeReport, NodeReportResult, Presence, PresenceReport,
        RenewLeaseRequest, RenewLeaseResponse, SoftState,
        key_registry_service_server::KeyRegistryService as _,
    },
};
use bowline_service_kit::{Caller, Later, ServiceName};
use tokio::sync::Semaphore;
use tonic::Request;

use super::*;
use crate::{Peers, RegistryConfig, service::MIGRATIONS, store::gateways::Log};

const TAILNET: u64 = 1;

/// A registry on a database of its own, at a time that stands still, without the services it asks.
struct Scene {
    registry: KeyRegistry,
    clock: Arc<ManualClock>,
    counting: Counting,
    _directory: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("registry").display());
        let clock = Arc::new(ManualClock::new(
            DateTime::UNIX_EPOCH + TimeDelta::days(20_000),
        ));
        let shared: SharedClock = Arc::clone(&clock) as SharedClock;
        let options = DatabaseOptions::new("key_registry", MIGRATIONS, shared);
        let database = Database::open(&url, options).await.unwrap();
        let nobody = Later::default().channel(Caller::Service(ServiceName::KeyRegistry));
        let registry = KeyRegistry {
            log: ChangeLog::new(database, Bus::in_process(), bowline_bus::Owner::KeyRegistry),
            peers: Peers {
                identity: nobody.clone(),
                compiler: nobody,
            },
            config: RegistryConfig::default(),
            foreign: Arc::default(),
            snapshots: Arc::new(Semaphore::new(1)),
        };
        let mut scene = Self {
            registry,
            clock,
            counting: Counting::start(),
            _directory: directory,
        };
        scene.sweep().await;
        scene.counting.since = Instant::now().checked_sub(FORGIVENESS).unwrap();
        scene
    }

    async fn sweep(&mut self) {
        self.registry.sweep(&mut self.counting).await.unwrap();
    }

    async fn pass(&mut self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
        self.sweep().await;
    }

    async fn put(&self, node: Node) {
        let tailnet = TailnetId::try_from(TAILNET).unwrap();
        let putting = self.registry.log.mutate(tailnet, "test", move |mutation| {
            Box::pin(async move {
                let now = mutation.now();
                nodes::bind_key(mutation.connection(), &node, now).await?;
                node_changes::put(mutation, &node, None).await
            })
        });
        putting.await.unwrap();
    }

    async fn node(&self, id: u64) -> Option<Node> {
        let reader = self.registry.log.database().reader();
        nodes::by_id(reader, TAILNET, id).await.unwrap()
    }

    async fn soft(&self, id: u64) -> SoftState {
        let reader = self.registry.log.database().reader();
        let found = soft_states::by_node(reader, id).await.unwrap();
        found.unwrap().state
    }

    async fn report(&self, gateway: &str, reports: Vec<NodeReport>) -> Vec<NodeReportResult> {
        let gateway = gateway.to_owned();
        self.registry.report_nodes(gateway, reports).await.unwrap()
    }

    async fn begin(&self, gateway: &str, id: u64, epoch: u64) -> u64 {
        let report = NodeReport {
            presence: Some(presence(gateway, epoch, true)),
            ..report(id)
        };
        self.report(gateway, vec![report]).await[0].epoch
    }

    async fn renew(&self, gateway: &str) -> RenewLeaseResponse {
        let head = Head {
            tailnet_id: TAILNET,
            revision: 3,
            soft_revision: 0,
        };
        let request = RenewLeaseRequest {
            gateway: gateway.to_owned(),
            applied: vec![head],
            ..RenewLeaseRequest::default()
        };
        let answer = self.registry.renew_lease(Request::new(request)).await;
        answer.unwrap().into_inner()
    }

    async fn gateways(&self) -> Vec<String> {
        let reader = self.registry.log.database().reader();
        let found = gateways::serving(reader, Log::Registry, TAILNET).await;
        found.unwrap().into_iter().map(|row| row.gateway).collect()
    }
}

fn node(id: u64) -> Node {
    let byte = |kind: u8| {
        let mut key = vec![kind; 32];
        key[..8].copy_from_slice(&id.to_be_bytes());
        key
    };
    Node {
        id,
        tailnet_id: TAILNET,
        machine_key: byte(1),
        node_key: byte(2),
        name: format!("node-{id}"),
        ipv4: format!("100.64.{}.{}", id / 256, id % 256),
        ipv6: format!("fd7a:115c:a1e0::{id:x}"),
        approved: true,
        hostname: "laptop".to_owned(),
        ..Node::default()
    }
}

fn router(id: u64) -> Node {
    let routes = vec!["10.0.0.0/8".to_owned()];
    Node {
        advertised_routes: routes.clone(),
        approved_routes: routes,
        ..node(id)
    }
}

fn report(id: u64) -> NodeReport {
    NodeReport {
        tailnet_id: TAILNET,
        node_id: id,
        node_key: node(id).node_key,
        ..NodeReport::default()
    }
}

fn presence(gateway: &str, epoch: u64, live: bool) -> PresenceReport {
    PresenceReport {
        presence: Some(Presence {
            epoch,
            gateway: gateway.to_owned(),
        }),
        live,
        draining: false,
        dead_link: false,
    }
}

fn host(home_derp: u32) -> HostReport {
    HostReport {
        home_derp,
        hostname: "laptop".to_owned(),
        ..HostReport::default()
    }
}

/// A report that differs from the node in nothing that policy judges.
fn client(sequence: u64, home_derp: u32) -> ClientReport {
    ClientReport {
        sequence,
        host: Some(host(home_derp)),
        ..ClientReport::default()
    }
}

#[tokio::test]
async fn nodes_of_a_lapsed_gateway_go_offline_and_come_back_with_it() {
    let mut scene = Scene::new().await;
    scene.put(node(1)).await;
    assert!(
        scene.renew("g").await.lapsed,
        "nothing is known of a new one"
    );
    let epoch = scene.begin("g", 1, 0).await;
    scene.pass(4).await;
    assert!(!scene.renew("g").await.lapsed);
    // The lease is over for less than the grace time, and renewed: nobody is offline, then or later.
    scene.pass(12).await;
    assert!(scene.soft(1).await.online);
    assert!(scene.renew("g").await.lapsed);
    for _ in 0..5 {
        scene.pass(4).await;
        assert!(!scene.renew("g").await.lapsed);
        assert!(scene.soft(1).await.online);
    }
    // Over for longer: offline, seen last when it was found out; and back when the gateway says so.
    scene.pass(16).await;
    let soft = scene.soft(1).await;
    assert!(!soft.online);
    let now = domain::timestamp(scene.registry.log.database().now().await.unwrap());
    assert_eq!(soft.last_seen, Some(now));
    assert!(scene.renew("g").await.lapsed);
    assert_eq!(scene.begin("g", 1, epoch).await, epoch);
    assert!(scene.soft(1).await.online);
}

#[tokio::test]
async fn gateway_that_left_is_waited_for_by_nobody_and_its_nodes_have_their_grace() {
    let mut scene = Scene::new().await;
    scene.put(node(1)).await;
    scene.renew("g").await;
    scene.begin("g", 1, 0).await;
    assert_eq!(scene.gateways().await, ["g"]);
    let leaving = RenewLeaseRequest {
        gateway: "g".to_owned(),
        leaving: true,
        ..RenewLeaseRequest::default()
    };
    scene
        .registry
        .renew_lease(Request::new(leaving))
        .await
        .unwrap();
    assert!(scene.gateways().await.is_empty());
    scene.pass(8).await;
    assert!(scene.soft(1).await.online);
    scene.pass(4).await;
    assert!(!scene.soft(1).await.online);
}

#[tokio::test]
async fn node_whose_link_is_dead_is_waited_for_less_than_one_that_left() {
    let mut scene = Scene::new().await;
    for id in [1, 2] {
        scene.put(node(id)).await;
    }
    scene.renew("g").await;
    for (id, dead_link) in [(1, true), (2, false)] {
        let epoch = scene.begin("g", id, 0).await;
        let ended = PresenceReport {
            dead_link,
            ..presence("g", epoch, false)
        };
        let report = NodeReport {
            presence: Some(ended),
            ..report(id)
        };
        scene.report("g", vec![report]).await;
    }
    scene.renew("g").await;
    scene.pass(4).await;
    assert!(scene.soft(1).await.online && scene.soft(2).await.online);
    scene.renew("g").await;
    scene.pass(2).await;
    assert!(!scene.soft(1).await.online && scene.soft(2).await.online);
}

#[tokio::test]
async fn ephemeral_node_goes_when_it_was_offline_long_enough_while_that_could_be_known() {
    let mut scene = Scene::new().await;
    let ephemeral = |id| Node {
        ephemeral: true,
        ..node(id)
    };
    scene.put(ephemeral(1)).await;
    scene.put(ephemeral(2)).await;
    scene.begin("g", 1, 0).await;
    // Online for longer than an ephemeral node is kept, then its gateway dies.
    for _ in 0..100 {
        scene.renew("g").await;
        scene.pass(4).await;
    }
    assert!(scene.node(1).await.is_some());
    assert!(
        scene.node(2).await.is_none(),
        "it never came after its registration"
    );
    scene.pass(16).await;
    assert!(!scene.soft(1).await.online);
    scene.pass(290).await;
    assert!(scene.node(1).await.is_some());
    // The registry was away: what passed meanwhile does not count.
    scene.counting = Counting::start();
    scene.sweep().await;
    scene.counting.since = Instant::now().checked_sub(FORGIVENESS).unwrap();
    scene.pass(20).await;
    assert!(scene.node(1).await.is_some());
    scene.pass(300).await;
    assert!(scene.node(1).await.is_none());
}

#[tokio::test]
async fn younger_report_counts_whichever_gateway_it_came_through() {
    let scene = Scene::new().await;
    scene.put(node(1)).await;
    let sent = |client, age_milliseconds| NodeReport {
        client: Some(client),
        age_milliseconds,
        ..report(1)
    };
    scene.begin("a", 1, 0).await;
    scene.report("a", vec![sent(client(5000, 900), 0)]).await;
    // Through another gateway, which counts from one: the stream stays where it is.
    scene.report("b", vec![sent(client(1, 901), 0)]).await;
    assert_eq!(scene.soft(1).await.home_derp, 901);
    assert_eq!(scene.soft(1).await.presence.unwrap().gateway, "a");
    // What the first gateway could not bring sooner is older.
    scene
        .report("a", vec![sent(client(5001, 902), 60_000)])
        .await;
    assert_eq!(scene.soft(1).await.home_derp, 901);
    scene.report("a", vec![sent(client(5002, 903), 0)]).await;
    scene.report("a", vec![sent(client(5001, 904), 0)]).await;
    assert_eq!(
        scene.soft(1).await.home_derp,
        903,
        "of one gateway the later counts"
    );
}

#[tokio::test]
async fn report_that_could_not_be_judged_is_sent_again_and_taken_over_then() {
    let scene = Scene::new().await;
    scene.put(node(1)).await;
    scene.put(node(2)).await;
    let offering = ClientReport {
        host: Some(HostReport {
            advertised_routes: vec!["10.0.0.0/8".to_owned()],
            ..host(900)
        }),
        ..client(1, 900)
    };
    let reports = vec![
        NodeReport {
            client: Some(offering.clone()),
            ..report(1)
        },
        NodeReport {
            client: Some(client(2, 900)),
            ..report(2)
        },
    ];
    // Nobody is there who could judge the route: the other's report is not held up by that.
    let results = scene.report("g", reports.clone()).await;
    let again: Vec<_> = results
        .iter()
        .map(|result| (result.accepted, result.again))
        .collect();
    assert_eq!(again, [(true, true), (true, false)]);
    assert_eq!(scene.soft(1).await.home_derp, 900);
    // The same again is still judged, and still can not be.
    assert!(scene.report("g", reports).await[0].again);
    // Without anything to judge it is taken over.
    let renamed = ClientReport {
        host: Some(HostReport {
            hostname: "desktop".to_owned(),
            ..host(900)
        }),
        ..offering
    };
    let again = NodeReport {
        client: Some(renamed),
        ..report(1)
    };
    assert!(!scene.report("g", vec![again]).await[0].again);
    assert_eq!(scene.node(1).await.unwrap().name, "desktop");
}

#[tokio::test]
async fn report_that_says_nothing_of_the_host_leaves_what_is_known_of_it() {
    let scene = Scene::new().await;
    scene.put(node(1)).await;
    let sent = |client| NodeReport {
        client: Some(client),
        ..report(1)
    };
    scene.report("g", vec![sent(client(1, 900))]).await;
    let before = scene.node(1).await;
    let silent = ClientReport {
        capability_version: 4,
        host: None,
        ..client(2, 900)
    };
    scene.report("g", vec![sent(silent)]).await;
    assert_eq!(scene.node(1).await, before);
    let soft = scene.soft(1).await;
    assert_eq!((soft.home_derp, soft.capability_version), (900, 4));
}

#[tokio::test]
async fn route_goes_to_a_router_that_can_carry_it() {
    let mut scene = Scene::new().await;
    let ending = Node {
        key_expiry: Some(domain::timestamp(
            scene.registry.log.database().now().await.unwrap() + TimeDelta::seconds(100),
        )),
        ..router(1)
    };
    scene.put(ending).await;
    for id in [2, 3] {
        scene.put(router(id)).await;
    }
    for (gateway, id) in [("g", 1), ("h", 2), ("h", 3)] {
        scene.begin(gateway, id, 0).await;
    }
    let primary = async |scene: &Scene| {
        let mut found = Vec::new();
        for id in [1, 2, 3] {
            if !scene.node(id).await.unwrap().primary_routes.is_empty() {
                found.push(id);
            }
        }
        found
    };
    assert_eq!(primary(&scene).await, [1]);
    // Its key ends by time while it is online.
    for _ in 0..26 {
        scene.renew("g").await;
        scene.renew("h").await;
        scene.pass(4).await;
    }
    assert!(scene.node(1).await.unwrap().expired && scene.soft(1).await.online);
    assert_eq!(primary(&scene).await, [2]);
    // The session of the next ends.
    let ended = NodeReport {
        presence: Some(presence("h", 1, false)),
        ..report(2)
    };
    scene.report("h", vec![ended]).await;
    scene.pass(4).await;
    assert_eq!(primary(&scene).await, [2], "it may come back");
    scene.renew("h").await;
    scene.pass(8).await;
    assert_eq!(primary(&scene).await, [3]);
}

#[tokio::test]
async fn election_that_a_crash_left_undone_is_held() {
    let mut scene = Scene::new().await;
    scene.put(router(1)).await;
    scene.begin("g", 1, 0).await;
    let calling = scene.registry.log.soft(|batch| {
        Box::pin(async move {
            elections::call(batch.connection(), TAILNET).await?;
            Ok::<_, RegistryError>(())
        })
    });
    calling.await.unwrap();
    let reader = scene.registry.log.database().reader();
    assert_eq!(elections::called(reader).await.unwrap(), [TAILNET]);
    scene.sweep().await;
    let reader = scene.registry.log.database().reader();
    assert!(elections::called(reader).await.unwrap().is_empty());
}

#[tokio::test]
async fn followers_get_every_soft_state_however_many_came_at_once_and_however_long() {
    let scene = Scene::new().await;
    for id in 1..=1001 {
        scene.put(node(id)).await;
    }
    let long = |id: u64| NodeReport {
        client: Some(ClientReport {
            host: Some(HostReport {
                hostinfo: vec![b' '; if id.is_multiple_of(10) { 60_000 } else { 10 }],
                ..host(900)
            }),
            ..client(1, 900)
        }),
        ..report(id)
    };
    // A thousand share one revision; the one after them has another.
    scene.report("g", (1..=1000).map(long).collect()).await;
    scene.report("g", vec![long(1001)]).await;
    let mut seen = std::collections::BTreeSet::new();
    let mut soft_revision = 0;
    loop {
        let since = ChangesSinceRequest {
            tailnet_id: TAILNET,
            revision: 1001,
            soft_revision,
        };
        let answer = scene.registry.changes_since(Request::new(since)).await;
        let answer = answer.unwrap().into_inner();
        seen.extend(answer.soft.iter().map(|state| state.node_id));
        if answer.soft_through == answer.soft_head {
            break;
        }
        assert!(answer.soft_through > soft_revision, "a follower gets on");
        soft_revision = answer.soft_through;
    }
    assert_eq!(seen.len(), 1001);
}
