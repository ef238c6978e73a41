mod ephemeral;
mod many_ends;

use std::sync::Arc;

use bowline_bus::Bus;
use bowline_clock::{Clock as _, ManualClock, SharedClock};
use bowline_db::{ChangeLog, Database, DatabaseOptions, TimeSource};
use bowline_ids::TailnetId;
use bowline_proto::{
    changes::v1::{ChangesSinceRequest, Head},
    key_registry::v1::{
        ClientReport, DescribedGateway, GatewayState, HostReport, LeaseState, NodeReport,
        NodeReportResult, Presence, PresenceReport, RenewLeaseRequest, RenewLeaseResponse,
        ReportProgressRequest, ReportedControlKey, ReportedControlKeys, ReportedKeyState,
        SharedKey, SoftState, TailnetProgress,
    },
};
use bowline_service_kit::{Caller, DeferredServices, ServiceName};
use bowline_test_servers::TestDatabase;

use super::*;
use crate::store::node_keys;
use crate::{
    AskedServices, RegistryConfig,
    adoption::Adoption,
    approval_questions::ApprovalQuestions,
    changes::RegistryChangesReader,
    domain::rotation::KeyOwner,
    gateway_listing::describe_fleet,
    leases::Leases,
    node_changes,
    nodes::Nodes,
    registration::Registration,
    reports::Reports,
    revocations::{ProgressSignal, Revocations},
    service::MIGRATIONS,
    store::{adoptions, barred_users, gateways::OwnerLog},
};

pub(crate) const TAILNET: u64 = 1;

/// A registry on a database of its own, at a time that stands still, without the services it asks.
pub(crate) struct TestRegistry {
    pub(crate) log: ChangeLog,
    pub(crate) adoption: Adoption,
    services: AskedServices,
    reports: Reports,
    sweeper: Sweeper,
    leases: Leases,
    revocations: Revocations,
    changes: RegistryChangesReader,
    pub(crate) clock: Arc<ManualClock>,
    health: FleetHealth,
    /// Gateways that renew their leases as time passes.
    pub(crate) living: Vec<&'static str>,
    _database: TestDatabase,
}

impl TestRegistry {
    pub(crate) async fn new() -> Self {
        Self::start(TestDatabase::sqlite().unwrap()).await
    }

    pub(crate) async fn start(database: TestDatabase) -> Self {
        let clock = Arc::new(ManualClock::new(
            DateTime::UNIX_EPOCH + TimeDelta::days(20_000),
        ));
        let shared: SharedClock = Arc::clone(&clock) as SharedClock;
        let options = DatabaseOptions {
            time: TimeSource::Clock,
            ..DatabaseOptions::new("key_registry", MIGRATIONS, shared)
        };
        let opened = Database::open(&database.url("registry"), options)
            .await
            .unwrap();
        let nobody =
            DeferredServices::default().channel_for(Caller::Service(ServiceName::KeyRegistry));
        let bus = Bus::in_process();
        let services = AskedServices {
            identity: nobody.clone(),
            compiler: nobody,
        };
        let log = ChangeLog::new(opened, bus.clone(), bowline_bus::LogOwner::KeyRegistry);
        let (config, progress) = (RegistryConfig::default(), ProgressSignal::new(bus));
        let grace = config.offline_grace();
        let adoption = Adoption::new(log.clone(), services.clone());
        let mut registry = Self {
            reports: Reports::new(log.clone(), adoption.clone(), grace),
            sweeper: Sweeper::new(log.clone(), grace, TimeDelta::seconds(300)),
            leases: Leases::new(log.clone(), progress.clone()),
            revocations: Revocations::new(log.clone(), progress),
            changes: RegistryChangesReader::new(log.clone()),
            adoption,
            services,
            log,
            clock,
            health: FleetHealth::default(),
            living: Vec::new(),
            _database: database,
        };
        registry.sweep().await;
        registry.pass(8).await;
        registry
    }

    /// Returns what machines call.
    pub(crate) fn registration(&self) -> Registration {
        let (services, adoption) = (self.services.clone(), self.adoption.clone());
        Registration::new(self.log.clone(), services, adoption, self.questions())
    }

    /// Returns how many rows a table has.
    pub(crate) async fn count_rows(&self, table: &str) -> i64 {
        let query = format!("SELECT CAST(COUNT(*) AS BIGINT) FROM {table}");
        let query = sqlx::query_scalar(sqlx::AssertSqlSafe(query));
        query.fetch_one(self.log.database().reader()).await.unwrap()
    }

    /// Returns what has questions answered.
    pub(crate) fn questions(&self) -> ApprovalQuestions {
        let (log, services) = (self.log.clone(), self.services.clone());
        ApprovalQuestions::new(log, services, self.nodes())
    }

    /// Returns what administrators call.
    pub(crate) fn nodes(&self) -> Nodes {
        let (log, adoption) = (self.log.clone(), self.adoption.clone());
        Nodes::new(
            log,
            self.services.clone(),
            adoption,
            self.revocations.clone(),
        )
    }

    async fn sweep(&mut self) {
        self.sweeper.sweep_once(&mut self.health).await;
    }

    /// Lets time pass, four seconds at most between two sweeps.
    pub(crate) async fn pass(&mut self, seconds: i64) {
        let mut left = seconds;
        while left > 0 {
            let step = left.min(4);
            left -= step;
            self.clock.advance(TimeDelta::seconds(step));
            for gateway in self.living.clone() {
                // While leases can not be recorded this fails, as it has to.
                drop(self.try_to_renew(gateway).await);
            }
            self.sweep().await;
        }
    }

    pub(crate) async fn put(&self, node: Node) {
        let tailnet = TailnetId::try_from(node.tailnet_id).unwrap();
        let putting = self.log.mutate(tailnet, "test", move |mutation| {
            Box::pin(async move {
                let now = mutation.now();
                node_keys::bind_key(mutation.connection(), &node, now).await?;
                node_changes::write_node(mutation, &node, None).await
            })
        });
        putting.await.unwrap();
    }

    /// Changes a node that is there.
    pub(crate) async fn change(&self, id: u64, change: impl FnOnce(&mut Node)) {
        let tailnet = TailnetId::try_from(TAILNET).unwrap();
        let mut node = self.node(id).await.unwrap();
        change(&mut node);
        let changing = self.log.mutate(tailnet, "test", move |mutation| {
            Box::pin(async move { node_changes::write_node(mutation, &node, None).await })
        });
        changing.await.unwrap();
    }

    pub(crate) async fn node(&self, id: u64) -> Option<Node> {
        let reader = self.log.database().reader();
        nodes::by_id(reader, TAILNET, id).await.unwrap()
    }

    /// Returns how many entries the log has.
    pub(crate) async fn head(&self) -> u64 {
        let tailnet = TailnetId::try_from(TAILNET).unwrap();
        let mut read = self.log.database().begin_read().await.unwrap();
        let head = self.log.head_in(&mut read, tailnet).await.unwrap();
        head.revision.get()
    }

    pub(crate) async fn count_audited(&self, action: &'static str) -> i64 {
        let query = "SELECT CAST(COUNT(*) AS BIGINT) FROM audit WHERE action = $1";
        let query = sqlx::query_scalar(query).bind(action);
        let reader = self.log.database().reader();
        query.fetch_one(reader).await.unwrap()
    }

    pub(crate) async fn is_barred_since(&self, owner: KeyOwner, revision: u64) -> bool {
        let mut read = self.log.database().begin_read().await.unwrap();
        let found = barred_users::is_barred_since(&mut read, &owner, revision);
        found.await.unwrap()
    }

    pub(crate) async fn soft(&self, id: u64) -> SoftState {
        let reader = self.log.database().reader();
        let found = soft_states::by_node(reader, id).await.unwrap();
        found.unwrap().state
    }

    pub(crate) async fn report(
        &self,
        gateway: &str,
        reports: Vec<NodeReport>,
    ) -> Vec<NodeReportResult> {
        let gateway = gateway.to_owned();
        self.reports.record_reports(gateway, reports).await.unwrap()
    }

    async fn begin(&self, gateway: &str, id: u64, epoch: u64) -> u64 {
        let report = NodeReport {
            presence: Some(presence(gateway, epoch, true)),
            ..report(id)
        };
        self.report(gateway, vec![report]).await[0].epoch
    }

    async fn renew(&self, gateway: &str) -> RenewLeaseResponse {
        self.try_to_renew(gateway).await.unwrap()
    }

    async fn try_to_renew(&self, gateway: &str) -> Result<RenewLeaseResponse, RegistryError> {
        self.renew_at(gateway, "").await
    }

    /// Renews the lease of a gateway that listens in a place.
    async fn renew_at(
        &self,
        gateway: &str,
        slot: &str,
    ) -> Result<RenewLeaseResponse, RegistryError> {
        let request = RenewLeaseRequest {
            gateway: gateway.to_owned(),
            slot: slot.to_owned(),
            max_staleness_seconds: Some(3600),
            ..RenewLeaseRequest::default()
        };
        self.leases.renew_lease(request).await
    }

    pub(crate) async fn execute(&self, sql: &'static str) {
        let writing = self.log.database().write(move |write| {
            Box::pin(async move {
                let done = sqlx::raw_sql(sql).execute(write.connection()).await;
                done.map_err(bowline_db::DatabaseError::from)?;
                Ok::<_, RegistryError>(())
            })
        });
        writing.await.unwrap();
    }

    async fn receipt(&self, revision: u64) -> Vec<(String, GatewayState)> {
        let receipt = self.revocations.await_gateways(
            OwnerLog::Registry,
            TailnetId::try_from(TAILNET).unwrap(),
            revision,
        );
        let gateways = receipt.await.unwrap().gateways.into_iter();
        gateways
            .map(|one| (one.gateway.clone(), one.state()))
            .collect()
    }

    /// Says how far a gateway is in tailnets.
    async fn progress(&self, gateway: &str, progress: Vec<(u64, u64)>, complete: bool) {
        let progress = progress.into_iter();
        let request = ReportProgressRequest {
            gateway: gateway.to_owned(),
            progress: progress
                .map(|(tailnet_id, registry_revision)| TailnetProgress {
                    tailnet_id,
                    registry_revision,
                    identity_revision: 1,
                })
                .collect(),
            dropped: Vec::new(),
            complete,
        };
        let answer = self.leases.record_progress(request).await;
        answer.unwrap();
    }

    async fn gateways(&self) -> Vec<String> {
        let reader = self.log.database().reader();
        let found = gateways::list_serving(reader, OwnerLog::Registry, TAILNET).await;
        let names = found.unwrap().into_iter();
        names.map(|row| row.incarnation.gateway).collect()
    }
}

pub(crate) fn node(id: u64) -> Node {
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
        user_id: 7,
        approved: true,
        hostname: "laptop".to_owned(),
        ..Node::default()
    }
}

fn ephemeral(id: u64) -> Node {
    Node {
        ephemeral: true,
        ..node(id)
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

pub(crate) fn report(id: u64) -> NodeReport {
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

pub(crate) fn host(home_derp: u32) -> HostReport {
    HostReport {
        home_derp,
        hostname: "laptop".to_owned(),
        ..HostReport::default()
    }
}

/// A report that differs from the node in nothing that policy judges.
pub(crate) fn client(sequence: u64, home_derp: u32) -> ClientReport {
    ClientReport {
        sequence,
        host: Some(host(home_derp)),
        ..ClientReport::default()
    }
}

#[tokio::test]
async fn nodes_of_a_lapsed_gateway_go_offline_and_come_back_with_it() {
    let mut registry = TestRegistry::new().await;
    registry.living = vec!["other"];
    registry.put(node(1)).await;
    assert!(
        registry.renew("g").await.lapsed,
        "nothing is known of a new one"
    );
    let epoch = registry.begin("g", 1, 0).await;
    registry.pass(4).await;
    assert!(!registry.renew("g").await.lapsed);
    // The lease is over for less than the grace time, and renewed: nobody is offline, then or later.
    registry.pass(12).await;
    assert!(registry.soft(1).await.online);
    assert!(registry.renew("g").await.lapsed);
    for _ in 0..5 {
        registry.pass(4).await;
        assert!(!registry.renew("g").await.lapsed);
        assert!(registry.soft(1).await.online);
    }
    // Over for longer: offline, seen last when it was found out; and back when the gateway says so.
    registry.pass(12).await;
    registry.pass(4).await;
    let soft = registry.soft(1).await;
    assert!(!soft.online);
    let now = domain::to_timestamp(registry.log.database().now().await.unwrap());
    assert_eq!(soft.last_seen, Some(now));
    assert!(registry.renew("g").await.lapsed);
    assert_eq!(registry.begin("g", 1, epoch).await, epoch);
    assert!(registry.soft(1).await.online);
}

#[tokio::test]
async fn gateway_that_left_is_waited_for_by_nobody_and_its_nodes_have_their_grace() {
    let mut registry = TestRegistry::new().await;
    registry.put(node(1)).await;
    registry.renew("g").await;
    registry.begin("g", 1, 0).await;
    assert_eq!(registry.gateways().await, ["g"]);
    let leaving = RenewLeaseRequest {
        gateway: "g".to_owned(),
        leaving: true,
        ..RenewLeaseRequest::default()
    };
    registry.leases.renew_lease(leaving).await.unwrap();
    assert!(registry.gateways().await.is_empty());
    registry.pass(8).await;
    assert!(registry.soft(1).await.online);
    registry.pass(4).await;
    assert!(!registry.soft(1).await.online);
}

#[tokio::test]
async fn node_whose_link_is_dead_is_waited_for_less_than_one_that_left() {
    let mut registry = TestRegistry::new().await;
    for id in [1, 2] {
        registry.put(node(id)).await;
    }
    registry.renew("g").await;
    for (id, dead_link) in [(1, true), (2, false)] {
        let epoch = registry.begin("g", id, 0).await;
        let ended = PresenceReport {
            dead_link,
            ..presence("g", epoch, false)
        };
        let report = NodeReport {
            presence: Some(ended),
            ..report(id)
        };
        registry.report("g", vec![report]).await;
    }
    registry.renew("g").await;
    registry.pass(4).await;
    assert!(registry.soft(1).await.online && registry.soft(2).await.online);
    registry.renew("g").await;
    registry.pass(2).await;
    assert!(!registry.soft(1).await.online && registry.soft(2).await.online);
}

/// Nobody can say which gateways live while their leases can not be recorded.
async fn leases_that_can_not_be_written_end_nothing(
    mut registry: TestRegistry,
    (forbid, allow): (&'static str, &'static str),
) {
    registry.living = vec!["g", "h"];
    for id in 1..=4 {
        registry.put(ephemeral(id)).await;
    }
    registry.put(router(5)).await;
    registry.pass(4).await;
    for (gateway, id) in [("g", 1), ("h", 2), ("g", 3), ("h", 5)] {
        registry.begin(gateway, id, 0).await;
    }
    let epoch = registry.begin("g", 4, 0).await;
    registry.pass(300).await;
    // A session ends, and begins again while that can not be recorded.
    let ended = NodeReport {
        presence: Some(presence("g", epoch, false)),
        ..report(4)
    };
    registry.report("g", vec![ended]).await;
    registry.pass(4).await;
    registry.execute(forbid).await;
    let before = registry
        .log
        .heads(&[TailnetId::try_from(TAILNET).unwrap()])
        .await
        .unwrap();
    assert!(registry.try_to_renew("g").await.is_err());
    registry.pass(2000).await;
    registry.execute(allow).await;
    // The first sweep is sooner than the first renewal, and one gateway comes back sooner than the other.
    registry.sweep().await;
    registry.renew("g").await;
    registry.sweep().await;
    let after = registry
        .log
        .heads(&[TailnetId::try_from(TAILNET).unwrap()])
        .await
        .unwrap();
    assert_eq!(before, after, "nothing was told of anybody");
    assert!(registry.renew("h").await.lapsed);
    registry.begin("h", 4, 0).await;
    registry.pass(400).await;
    for id in 1..=5 {
        assert!(registry.node(id).await.is_some(), "{id}");
        assert!(registry.soft(id).await.online, "{id}");
    }
    assert_eq!(
        registry.node(5).await.unwrap().primary_routes,
        ["10.0.0.0/8"]
    );
    // Time counts again: one of two that falls silent is told so.
    registry.living = vec!["g"];
    registry.pass(24).await;
    assert!(!registry.soft(2).await.online && registry.soft(1).await.online);
}

#[tokio::test]
async fn leases_that_can_not_be_written_end_nothing_on_sqlite() {
    let forbid = "CREATE TRIGGER full_insert BEFORE INSERT ON gateways BEGIN SELECT RAISE(ABORT, 'full'); END;
        CREATE TRIGGER full_update BEFORE UPDATE ON gateways BEGIN SELECT RAISE(ABORT, 'full'); END;";
    let allow = "DROP TRIGGER full_insert; DROP TRIGGER full_update;";
    leases_that_can_not_be_written_end_nothing(TestRegistry::new().await, (forbid, allow)).await;
}

#[tokio::test]
async fn leases_that_can_not_be_written_end_nothing_on_postgres() {
    let Some(database) = TestDatabase::postgres().unwrap() else {
        return;
    };
    let registry = TestRegistry::start(database).await;
    let forbid = "CREATE FUNCTION full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'full'; END $$;
        CREATE TRIGGER full_rows BEFORE INSERT OR UPDATE ON gateways FOR EACH ROW EXECUTE FUNCTION full();";
    let allow = "DROP TRIGGER full_rows ON gateways; DROP FUNCTION full();";
    leases_that_can_not_be_written_end_nothing(registry, (forbid, allow)).await;
}

#[tokio::test]
async fn most_gateways_that_fall_silent_together_take_nobody_offline() {
    let mut registry = TestRegistry::new().await;
    registry.living = vec!["a", "b", "c"];
    for id in 1..=4 {
        registry.put(ephemeral(id)).await;
    }
    for (gateway, id) in [("a", 1), ("b", 2), ("c", 3), ("c", 4)] {
        registry.begin(gateway, id, 0).await;
    }
    registry.pass(20).await;
    registry.living = vec!["c"];
    registry.pass(1000).await;
    for id in 1..=4 {
        assert!(registry.soft(id).await.online, "{id}");
    }
    // What a gateway says itself counts all the time.
    let ended = NodeReport {
        presence: Some(presence("c", 1, false)),
        ..report(4)
    };
    registry.report("c", vec![ended]).await;
    registry.pass(12).await;
    assert!(!registry.soft(4).await.online);
    // Once most are back, the one that is not back counts again.
    registry.living = vec!["c", "b"];
    registry.pass(8).await;
    assert!(
        registry.soft(1).await.online,
        "they have the time to come back"
    );
    registry.pass(12).await;
    assert!(!registry.soft(1).await.online && registry.soft(2).await.online);
}

#[tokio::test]
async fn receipt_waits_for_what_was_not_told_yet_and_names_nobody_who_serves_nobody() {
    let mut registry = TestRegistry::new().await;
    registry.renew_at("g", "here").await.unwrap();
    assert_eq!(
        registry.receipt(3).await,
        [("g".to_owned(), GatewayState::Lagging)]
    );
    // It serves thousands, and tells them in parts.
    let others = |from: u64| {
        (from..from + 1000)
            .map(|tailnet| (tailnet, 9))
            .collect::<Vec<_>>()
    };
    registry.progress("g", others(1000), false).await;
    registry.progress("g", others(2000), false).await;
    assert_eq!(
        registry.receipt(3).await,
        [("g".to_owned(), GatewayState::Lagging)]
    );
    registry.progress("g", others(3000), true).await;
    assert_eq!(
        registry.receipt(3).await,
        [("g".to_owned(), GatewayState::Applied)]
    );
    // A receipt is there as soon as the progress is.
    registry.progress("g", vec![(TAILNET, 2)], true).await;
    let receipt = registry.receipt(3);
    let progress = registry.progress("g", vec![(TAILNET, 3)], true);
    let (receipt, ()) = tokio::join!(receipt, progress);
    assert_eq!(receipt, [("g".to_owned(), GatewayState::Applied)]);
    // It is killed, and starts again in its place.
    registry.pass(2).await;
    registry.renew_at("next", "here").await.unwrap();
    registry.progress("next", vec![(TAILNET, 3)], true).await;
    assert_eq!(
        registry.receipt(3).await,
        [("next".to_owned(), GatewayState::Applied)]
    );
    // One that dies for good is named while clients may hold on to it, where it served.
    registry.pass(8).await;
    registry.renew("other").await;
    registry.progress("other", Vec::new(), true).await;
    let applied = ("other".to_owned(), GatewayState::Applied);
    let stale = ("next".to_owned(), GatewayState::Stale);
    assert_eq!(registry.receipt(3).await, [stale, applied.clone()]);
    let elsewhere = registry
        .revocations
        .await_gateways(OwnerLog::Registry, TailnetId::try_from(77_u64).unwrap(), 3)
        .await
        .unwrap();
    assert_eq!(elsewhere.gateways.len(), 1, "it never served that tailnet");
    registry.living = vec!["other"];
    registry.pass(3600).await;
    assert_eq!(registry.receipt(3).await, [applied]);
}

#[tokio::test]
async fn gateway_of_an_earlier_release_tells_all_with_its_lease() {
    let registry = TestRegistry::new().await;
    let head = |tailnet_id| Head {
        tailnet_id,
        revision: 3,
        soft_revision: 0,
    };
    let request = RenewLeaseRequest {
        gateway: "g".to_owned(),
        applied: (1..=2500).map(head).collect(),
        applied_identity: vec![head(TAILNET)],
        ..RenewLeaseRequest::default()
    };
    let answer = registry.leases.renew_lease(request).await;
    assert!(answer.unwrap().lapsed);
    for (tailnet, revision, expected) in [
        (TAILNET, 3, GatewayState::Applied),
        (2500, 3, GatewayState::Applied),
        (2501, 9, GatewayState::Applied),
        (2500, 4, GatewayState::Lagging),
    ] {
        let receipt = registry.revocations.await_gateways(
            OwnerLog::Registry,
            TailnetId::try_from(tailnet).unwrap(),
            revision,
        );
        assert_eq!(
            receipt.await.unwrap().gateways[0].state(),
            expected,
            "{tailnet}"
        );
    }
    let identity = registry
        .revocations
        .await_gateways(OwnerLog::Identity, TailnetId::try_from(TAILNET).unwrap(), 3)
        .await;
    assert_eq!(identity.unwrap().gateways[0].state(), GatewayState::Applied);
}

#[tokio::test]
async fn row_that_can_not_be_read_holds_up_no_other() {
    let mut registry = TestRegistry::new().await;
    registry.living = vec!["g"];
    let soon = registry.log.database().now().await.unwrap() + TimeDelta::seconds(10);
    let ending = |id| Node {
        key_expiry: Some(domain::to_timestamp(soon)),
        ..ephemeral(id)
    };
    for id in 1..=250 {
        registry.put(ending(id)).await;
    }
    for id in [7, 8] {
        let epoch = registry.begin("g", id, 0).await;
        let ended = NodeReport {
            presence: Some(presence("g", epoch, false)),
            ..report(id)
        };
        registry.report("g", vec![ended]).await;
    }
    registry.execute("UPDATE nodes SET body = 'x' WHERE id = 3; UPDATE soft_states SET body = 'x' WHERE node_id = 7").await;
    registry.pass(12).await;
    for id in [1, 2, 4, 250] {
        assert!(registry.node(id).await.unwrap().expired, "{id}");
    }
    assert!(!registry.soft(8).await.online);
    registry.clock.advance(TimeDelta::days(1));
    registry.pass(400).await;
    assert!(registry.node(4).await.is_none() && registry.node(250).await.is_none());
}

#[tokio::test]
async fn key_that_ends_within_a_day_is_put_on_record_once_for_each_end() {
    let registry = TestRegistry::new().await;
    let in_hours = |hours| {
        let end = registry.clock.now() + TimeDelta::hours(hours);
        Some(domain::to_timestamp(end))
    };
    for (id, key_expiry) in [(1, in_hours(23)), (2, in_hours(25)), (3, None)] {
        registry
            .put(Node {
                key_expiry,
                ..node(id)
            })
            .await;
    }
    for _ in 0..2 {
        registry.sweeper.notice_ends().await.unwrap();
        assert_eq!(registry.count_audited("node.expiring").await, 1);
    }
    registry.clock.advance(TimeDelta::hours(2));
    registry.sweeper.notice_ends().await.unwrap();
    assert_eq!(registry.count_audited("node.expiring").await, 2);
    // Another end is another notice.
    let later = in_hours(24);
    registry.change(1, |node| node.key_expiry = later).await;
    registry.sweeper.notice_ends().await.unwrap();
    assert_eq!(registry.count_audited("node.expiring").await, 3);
}

#[tokio::test]
async fn key_that_two_machines_use_is_put_on_record_once_an_hour() {
    let registry = TestRegistry::new().await;
    registry.put(node(1)).await;
    let shared = || NodeReport {
        key_shared: true,
        ..report(1)
    };
    registry.report("g", vec![report(1)]).await;
    assert_eq!(registry.node(1).await.unwrap().shared_key, None);
    registry.report("g", vec![shared()]).await;
    let first = registry.node(1).await.unwrap();
    let known = first.shared_key.clone().unwrap();
    assert_eq!(known.node_key, first.node_key);
    registry.report("g", vec![shared(), shared()]).await;
    assert_eq!(registry.node(1).await.unwrap(), first, "known already");
    let seen_at = known.seen_at.unwrap();
    let hour_ago = prost_types::Timestamp {
        seconds: seen_at.seconds - 3600,
        ..seen_at
    };
    let old = SharedKey {
        node_key: node(2).node_key,
        seen_at: Some(hour_ago),
    };
    registry
        .put(Node {
            shared_key: Some(old),
            ..node(2)
        })
        .await;
    let shared = NodeReport {
        key_shared: true,
        ..report(2)
    };
    registry.report("g", vec![shared]).await;
    let again = registry.node(2).await.unwrap().shared_key.unwrap().seen_at;
    assert!(again.unwrap().seconds >= seen_at.seconds);
}

#[tokio::test]
async fn younger_report_counts_whichever_gateway_it_came_through() {
    let registry = TestRegistry::new().await;
    registry.put(node(1)).await;
    let sent = |client, age_milliseconds| NodeReport {
        client: Some(client),
        age_milliseconds,
        ..report(1)
    };
    registry.begin("a", 1, 0).await;
    registry.report("a", vec![sent(client(5000, 900), 0)]).await;
    // Through another gateway, which counts from one: the stream stays where it is.
    registry.report("b", vec![sent(client(1, 901), 0)]).await;
    assert_eq!(registry.soft(1).await.home_derp, 901);
    assert_eq!(registry.soft(1).await.presence.unwrap().gateway, "a");
    // What the first gateway could not bring sooner is older.
    registry
        .report("a", vec![sent(client(5001, 902), 60_000)])
        .await;
    assert_eq!(registry.soft(1).await.home_derp, 901);
    registry.report("a", vec![sent(client(5002, 903), 0)]).await;
    registry.report("a", vec![sent(client(5001, 904), 0)]).await;
    assert_eq!(
        registry.soft(1).await.home_derp,
        903,
        "of one gateway the later counts"
    );
}

#[tokio::test]
async fn report_that_can_not_be_judged_is_kept_and_holds_up_no_other() {
    let registry = TestRegistry::new().await;
    registry.put(node(1)).await;
    registry.put(node(2)).await;
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
    let results = registry.report("g", reports).await;
    let again: Vec<_> = results
        .iter()
        .map(|result| (result.accepted, result.again))
        .collect();
    assert_eq!(again, [(true, false), (true, false)]);
    assert_eq!(registry.soft(1).await.home_derp, 900);
    let reader = registry.log.database().reader();
    let kept = adoptions::by_node(reader, 1).await.unwrap().unwrap();
    assert!(kept.due.is_some(), "it is judged later");
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
    assert!(!registry.report("g", vec![again]).await[0].again);
    assert_eq!(registry.node(1).await.unwrap().name, "desktop");
}

#[tokio::test]
async fn report_that_says_nothing_of_the_host_leaves_what_is_known_of_it() {
    let registry = TestRegistry::new().await;
    registry.put(node(1)).await;
    let sent = |client| NodeReport {
        client: Some(client),
        ..report(1)
    };
    registry.report("g", vec![sent(client(1, 900))]).await;
    let before = registry.node(1).await;
    let silent = ClientReport {
        capability_version: 4,
        host: None,
        ..client(2, 900)
    };
    registry.report("g", vec![sent(silent)]).await;
    assert_eq!(registry.node(1).await, before);
    let soft = registry.soft(1).await;
    assert_eq!((soft.home_derp, soft.capability_version), (900, 4));
}

#[tokio::test]
async fn route_goes_to_a_router_that_can_carry_it() {
    let mut registry = TestRegistry::new().await;
    let ending = Node {
        key_expiry: Some(domain::to_timestamp(
            registry.log.database().now().await.unwrap() + TimeDelta::seconds(100),
        )),
        ..router(1)
    };
    registry.put(ending).await;
    registry.living = vec!["g", "h"];
    for id in [2, 3] {
        registry.put(router(id)).await;
    }
    for (gateway, id) in [("g", 1), ("h", 2), ("h", 3)] {
        registry.begin(gateway, id, 0).await;
    }
    let primary = async |registry: &TestRegistry| {
        let mut found = Vec::new();
        for id in [1, 2, 3] {
            if !registry.node(id).await.unwrap().primary_routes.is_empty() {
                found.push(id);
            }
        }
        found
    };
    assert_eq!(primary(&registry).await, [1]);
    // Its key ends by time while it is online.
    registry.pass(104).await;
    assert!(registry.node(1).await.unwrap().expired && registry.soft(1).await.online);
    assert_eq!(primary(&registry).await, [2]);
    // The session of the next ends.
    let ended = NodeReport {
        presence: Some(presence("h", 1, false)),
        ..report(2)
    };
    registry.report("h", vec![ended]).await;
    registry.pass(4).await;
    assert_eq!(primary(&registry).await, [2], "it may come back");
    registry.pass(8).await;
    assert_eq!(primary(&registry).await, [3]);
}

#[tokio::test]
async fn election_that_a_crash_left_undone_is_held() {
    let mut registry = TestRegistry::new().await;
    registry.put(router(1)).await;
    registry.begin("g", 1, 0).await;
    let calling = registry.log.commit_soft_state(|batch| {
        Box::pin(async move {
            elections::mark_pending(batch.connection(), TAILNET).await?;
            Ok::<_, RegistryError>(())
        })
    });
    calling.await.unwrap();
    let reader = registry.log.database().reader();
    assert_eq!(elections::list_pending(reader).await.unwrap(), [TAILNET]);
    registry.sweep().await;
    let reader = registry.log.database().reader();
    assert!(elections::list_pending(reader).await.unwrap().is_empty());
}

#[tokio::test]
async fn followers_get_every_soft_state_however_many_came_at_once_and_however_long() {
    let registry = TestRegistry::new().await;
    for id in 1..=1001 {
        registry.put(node(id)).await;
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
    registry.report("g", (1..=1000).map(long).collect()).await;
    registry.report("g", vec![long(1001)]).await;
    let mut seen = std::collections::BTreeSet::new();
    let mut soft_revision = 0;
    loop {
        let since = ChangesSinceRequest {
            tailnet_id: TAILNET,
            revision: 1001,
            soft_revision,
        };
        let answer = registry
            .changes
            .read_changes(TailnetId::try_from(TAILNET).unwrap(), &since)
            .await;
        let answer = answer.unwrap();
        seen.extend(answer.soft.iter().map(|state| state.node_id));
        if answer.soft_through == answer.soft_head {
            break;
        }
        assert!(answer.soft_through > soft_revision, "a follower gets on");
        soft_revision = answer.soft_through;
    }
    assert_eq!(seen.len(), 1001);
}

#[tokio::test]
async fn soft_states_come_no_earlier_than_their_nodes() {
    let registry = TestRegistry::new().await;
    registry.put(node(1)).await;
    let tailnet = TailnetId::try_from(TAILNET).unwrap();
    let since = |revision, soft_revision| ChangesSinceRequest {
        tailnet_id: TAILNET,
        revision,
        soft_revision,
    };
    let reported = |id| NodeReport {
        client: Some(client(1, 900)),
        ..report(id)
    };
    // A node is registered and reports between the two halves of an answer.
    let half = registry
        .changes
        .read_soft(tailnet, &since(1, 0))
        .await
        .unwrap();
    registry.put(node(2)).await;
    registry.report("g", vec![reported(2)]).await;
    let answer = registry
        .changes
        .read_entries(tailnet, &since(1, 0), half)
        .await
        .unwrap();
    assert_eq!((answer.entries.len(), answer.soft.len()), (1, 0));
    assert_eq!(answer.soft_through, 0);
    // More entries than an answer has come first: the soft states come with the last of them.
    let renaming = registry.log.mutate(tailnet, "test", move |mutation| {
        Box::pin(async move {
            for number in 0..1000 {
                let renamed = Node {
                    hostname: format!("h{number}"),
                    ..node(1)
                };
                node_changes::write_node(mutation, &renamed, None).await?;
            }
            Ok::<_, RegistryError>(())
        })
    });
    renaming.await.unwrap();
    registry.put(node(3)).await;
    registry.report("g", vec![reported(3)]).await;
    let first = registry
        .changes
        .read_changes(tailnet, &since(2, 0))
        .await
        .unwrap();
    assert_eq!((first.entries.len(), first.soft.len()), (1000, 0));
    assert_eq!(first.soft_through, 0);
    let second = registry
        .changes
        .read_changes(tailnet, &since(1002, 0))
        .await
        .unwrap();
    let brought: Vec<_> = second.soft.iter().map(|soft| soft.node_id).collect();
    assert_eq!((second.entries.len(), brought), (1, vec![2, 3]));
    assert_eq!(second.soft_through, second.soft_head);
}

#[tokio::test]
async fn answer_to_a_report_says_whether_it_counts_and_from_which_row_on() {
    let registry = TestRegistry::new().await;
    registry.put(node(1)).await;
    let sent = |sequence, age_milliseconds| NodeReport {
        client: Some(client(sequence, 900)),
        age_milliseconds,
        ..report(1)
    };
    let first = registry.report("a", vec![sent(1, 0)]).await;
    assert_eq!((first[0].applied, first[0].soft_revision), (true, 1));
    let elsewhere = registry.report("b", vec![sent(1, 0)]).await;
    assert_eq!(
        (elsewhere[0].applied, elsewhere[0].soft_revision),
        (true, 2)
    );
    let late = registry.report("a", vec![sent(2, 60_000)]).await;
    assert!(late[0].accepted && !late[0].applied, "the other's counts");
    let again = registry.report("b", vec![sent(1, 0)]).await;
    assert!(again[0].applied, "its answer may have been lost");
}

#[tokio::test]
async fn operators_are_told_how_far_each_gateway_is_behind() {
    let registry = TestRegistry::new().await;
    for id in 1..=3 {
        registry.put(node(id)).await;
    }
    let head = registry.head().await;
    registry
        .renew_at("a", "boot/net:[1]/192.0.2.1:443")
        .await
        .unwrap();
    registry
        .progress("a", vec![(TAILNET, head), (7, 4)], true)
        .await;
    registry.renew("b").await;
    registry
        .progress("b", vec![(TAILNET, head - 2)], true)
        .await;
    registry
        .execute("INSERT INTO identity_progress (tailnet_id, revision) VALUES (1, 6)")
        .await;
    let described = async || {
        let found = describe_fleet(registry.log.database()).await.unwrap();
        let lease = |one: &DescribedGateway| (one.lease(), one.tailnets, one.revisions_behind);
        (found.iter().map(lease).collect::<Vec<_>>(), found)
    };
    let (leases, found) = described().await;
    assert_eq!(leases, [(LeaseState::Live, 2, 0), (LeaseState::Live, 1, 2)]);
    assert_eq!(found[0].address, "192.0.2.1:443");
    let tailnets = found.iter().map(|one| one.tailnets_behind);
    assert_eq!(tailnets.collect::<Vec<_>>(), [0, 1]);
    assert_eq!(found[1].identity_revisions_behind, 5);
    // Without a lease clients may hold on to it for the hour that it has said.
    registry.clock.advance(TimeDelta::seconds(30));
    assert_eq!(described().await.0[1].0, LeaseState::Stale);
    registry.clock.advance(TimeDelta::hours(2));
    assert_eq!(described().await.0[1].0, LeaseState::Gone);
}

#[tokio::test]
async fn operators_are_told_which_control_keys_each_gateway_has() {
    let registry = TestRegistry::new().await;
    let key = |state: ReportedKeyState| ReportedControlKey {
        transport: "noise".to_owned(),
        public_key: format!("mkey:{}", "a".repeat(64)),
        state: state.into(),
    };
    let renew = async |keys: Option<Vec<ReportedControlKey>>| {
        let request = RenewLeaseRequest {
            gateway: "g".to_owned(),
            max_staleness_seconds: Some(3600),
            control_keys: keys.map(|keys| ReportedControlKeys { keys }),
            ..RenewLeaseRequest::default()
        };
        registry.leases.renew_lease(request).await
    };
    let told = async || {
        let found = describe_fleet(registry.log.database()).await.unwrap();
        found[0].control_keys.clone().map(|told| told.keys)
    };
    for keys in [
        Some(vec![key(ReportedKeyState::Active)]),
        Some(vec![
            key(ReportedKeyState::Active),
            key(ReportedKeyState::Prepared),
        ]),
        // One of an earlier release does not say.
        None,
    ] {
        renew(keys.clone()).await.unwrap();
        assert_eq!(told().await, keys);
    }
    let many = vec![key(ReportedKeyState::Old); 17];
    let long = ReportedControlKey {
        public_key: "a".repeat(100),
        ..key(ReportedKeyState::Old)
    };
    for keys in [many, vec![long]] {
        let refused = renew(Some(keys)).await.unwrap_err();
        assert!(
            matches!(refused, RegistryError::Invalid { .. }),
            "{refused}"
        );
    }
}
