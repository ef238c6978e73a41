//! One client's stream while its tailnet changes.

use std::time::Duration;

use bowline_clock::SystemClock;
use bowline_control_wire::{CapabilityVersion, Compression, decode_frame};
use bowline_netmap::fixture::node_id;
use bowline_netmap::{
    FilterSources,
    fixture::{TestTailnet, compiled, node, user},
};
use bowline_proto::{
    identity::v1::identity_change::Change,
    key_registry::v1::{ClientReport, HostReport, Node},
    policy::v1::{ListRef, Settings, SourceListChange, SshRule},
};
use bowline_service_kit::{GrpcChannel, Shutdown, Tasks};
use bytes::BytesMut;

use super::*;
use crate::tailnet::tests::{publish, tailnet};

/// Nodes 1, 2 and 3 of three users, in one class.
struct TestSessions {
    network: TestTailnet,
    tailnet: Arc<Tailnet>,
    reporter: Reporter,
    shutdown: Shutdown,
}

impl TestSessions {
    fn new(sources: FilterSources) -> Self {
        let mut network = TestTailnet::unpublished(sources);
        for id in [2, 3] {
            network.identity(Change::User(user(id)));
            network.put(Node {
                user_id: id,
                ..node(id)
            });
        }
        network.compile(&[1, 2, 3]);
        let shutdown = Shutdown::new(Duration::from_secs(100));
        let tasks = Tasks::new(shutdown.clone());
        let registry = GrpcChannel::admin_socket("/nonexistent/bowline.sock");
        let reporter = Reporter::start("test".to_owned(), registry, &tasks);
        let mut sessions = Self {
            network,
            tailnet: tailnet(sources).0,
            reporter,
            shutdown,
        };
        sessions.publish();
        sessions
    }

    fn publish(&mut self) {
        publish(&self.tailnet, &mut self.network.replica);
    }

    /// Ends a node's key.
    fn expire(&mut self, id: u64) {
        self.network.put(Node {
            user_id: id,
            expired: true,
            ..node(id)
        });
    }

    /// Lets peers of a node see a change.
    fn report(&mut self, id: u64, round: u32) {
        let report = ClientReport {
            host: Some(HostReport {
                home_derp: 1 + round,
                ..HostReport::default()
            }),
            ..ClientReport::default()
        };
        self.network.replica.apply_report(node_id(id), report);
    }

    /// Changes what every client is told whole.
    fn redefine(&mut self, round: u32) {
        let mut update = compiled(self.network.revision, &[1, 2, 3], false);
        update.source_lists = vec![SourceListChange::default()];
        update.derp_map = Some(format!(
            r#"{{"Regions": {{"{round}": {{"RegionID": {round}}}}}}}"#
        ));
        self.network.replica.apply_compiled(vec![update]);
    }

    async fn begin(&self, id: u64, version: u16) -> (MapSession, MapResponse) {
        let dialect = Dialect {
            version: CapabilityVersion(version),
            compression: Compression::None,
        };
        let client = SessionClient {
            tailnet: Arc::clone(&self.tailnet),
            node: node_id(id),
            node_key: node(id).node_key,
            dialect,
            connection: Connection::unconnected(self.shutdown.clone(), id),
        };
        let (clock, reporter) = (Arc::new(SystemClock), self.reporter.clone());
        let mut session = MapSession::begin(client, clock, reporter, Arc::default());
        let first = next(&mut session).await.expect("the first message");
        (session, first)
    }
}

async fn next(session: &mut MapSession) -> Option<MapResponse> {
    let frame = session.next_frame().await.expect("a frame")?;
    let json = decode_frame(&mut BytesMut::from(&frame[..]), Compression::None, 1 << 20);
    let json = json.expect("whole").expect("JSON");
    Some(serde_json::from_slice(&json).expect("a message"))
}

#[tokio::test(start_paused = true)]
async fn client_that_is_told_everything_again_keeps_no_peer_that_is_gone() {
    for version in [130, 100, 80, 12] {
        let mut sessions = TestSessions::new(FilterSources::Addresses);
        let (mut session, first) = sessions.begin(1, version).await;
        assert_eq!(first.peers.len(), 2);
        sessions.expire(2);
        sessions.expire(3);
        sessions.redefine(9);
        sessions.publish();
        let again = next(&mut session).await.expect("everything again");
        assert!(again.derp_map.is_some() && again.peers.is_empty());
        assert_eq!(again.peers_removed, [2, 3], "a client of version {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn client_that_fell_behind_is_told_everything_or_begins_again() {
    let mut sessions = TestSessions::new(FilterSources::Addresses);
    let (mut session, _) = sessions.begin(1, 130).await;
    let fall_behind = |sessions: &mut TestSessions| {
        for round in 0..1100 {
            sessions.report(2, round);
            sessions.publish();
        }
    };
    fall_behind(&mut sessions);
    let again = next(&mut session).await.expect("everything again");
    assert_eq!(again.peers.len(), 2);
    fall_behind(&mut sessions);
    sessions.expire(2);
    sessions.expire(3);
    sessions.publish();
    assert!(
        next(&mut session).await.is_none(),
        "what it has seen is not known"
    );
    assert!(sessions.begin(1, 130).await.1.peers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn client_that_was_told_everything_again_is_told_each_later_change_once() {
    let mut sessions = TestSessions::new(FilterSources::Addresses);
    let (mut session, _) = sessions.begin(1, 130).await;
    sessions.redefine(9);
    sessions.publish();
    sessions.report(2, 1);
    sessions.publish();
    let again = next(&mut session).await.expect("everything again");
    assert_eq!(again.peers[0].home_derp, 2);
    sessions.report(2, 2);
    sessions.publish();
    let change = next(&mut session).await.expect("the change");
    assert_eq!(change.peers_changed_patch.len(), 1);
    let silence = next(&mut session).await.expect("a sign of life");
    assert!(silence.keep_alive);
}

#[tokio::test(start_paused = true)]
async fn suspended_user_is_told_to_forget_its_peers() {
    let mut sessions = TestSessions::new(FilterSources::Addresses);
    let (mut session, _) = sessions.begin(2, 130).await;
    let mut suspended = user(2);
    suspended.suspended = true;
    sessions.network.identity(Change::User(suspended));
    sessions.publish();
    let last = next(&mut session).await.expect("the last message");
    assert_eq!((last.peers.len(), last.peers_removed), (0, vec![1, 3]));
    assert!(next(&mut session).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn each_node_of_a_class_is_told_its_own_filter() {
    for sources in [FilterSources::Addresses, FilterSources::Capabilities] {
        let mut sessions = TestSessions::new(sources);
        let (mut one, _) = sessions.begin(1, 130).await;
        let (mut two, _) = sessions.begin(2, 130).await;
        sessions.network.delete(3);
        sessions.publish();
        for (session, own) in [(&mut one, "100.64.0.1"), (&mut two, "100.64.0.2")] {
            let message = next(session).await.expect("the change");
            assert_eq!(message.peers_removed, [3]);
            let rules = message.packet_filters.values().flatten().flatten();
            let reached: Vec<_> = rules
                .flat_map(|rule| &rule.dst_ports)
                .map(|to| &*to.ip)
                .collect();
            assert!(reached.contains(&own), "{reached:?} with {sources:?}");
            assert!(reached.iter().all(|ip| *ip == own || ip.contains(':')));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_node_of_a_class_is_told_its_own_logins() {
    let mut sessions = TestSessions::new(FilterSources::Addresses);
    let mut update = compiled(sessions.network.revision, &[1, 2, 3], true);
    update.classes[0].filter.clear();
    let mut settings = Settings {
        id: 4,
        ..Settings::default()
    };
    settings.ssh = vec![SshRule {
        principals: vec![ListRef { id: 5, user_id: 0 }],
        ..SshRule::default()
    }];
    update.settings.push(settings);
    update.memberships[1].settings_id = 4;
    sessions.network.replica.apply_compiled(vec![update]);
    sessions.publish();
    let (mut one, _) = sessions.begin(1, 130).await;
    let (mut two, _) = sessions.begin(2, 130).await;
    sessions.expire(3);
    sessions.publish();
    let first = next(&mut one).await.expect("the change");
    assert!(first.ssh_policy.is_none() && first.peers_removed == [3]);
    let second = next(&mut two).await.expect("the change");
    let rules = second.ssh_policy.expect("its logins").rules;
    assert_eq!(rules[0].principals.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn same_change_is_encoded_once_for_a_class() {
    let mut sessions = TestSessions::new(FilterSources::Addresses);
    let (mut one, _) = sessions.begin(1, 130).await;
    let (mut two, _) = sessions.begin(2, 130).await;
    sessions.report(3, 1);
    sessions.publish();
    let first = one
        .next_frame()
        .await
        .expect("a frame")
        .expect("the change");
    let second = two
        .next_frame()
        .await
        .expect("a frame")
        .expect("the change");
    assert_eq!(first.as_ptr(), second.as_ptr());
}

#[tokio::test(start_paused = true)]
async fn busy_session_ends_when_its_connection_closes() {
    let mut sessions = TestSessions::new(FilterSources::Addresses);
    let (mut session, _) = sessions.begin(1, 130).await;
    sessions.report(2, 1);
    sessions.publish();
    sessions.shutdown.drain();
    assert!(
        next(&mut session).await.is_some(),
        "a drain alone ends nothing"
    );
    sessions.report(2, 2);
    sessions.publish();
    session.connection.announce_closing();
    assert!(next(&mut session).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn clients_of_the_oldest_form_get_signs_of_life_among_whole_messages() {
    let mut sessions = TestSessions::new(FilterSources::Addresses);
    let (mut session, _) = sessions.begin(1, 4).await;
    let start = Instant::now();
    let mut round = 0;
    loop {
        round += 1;
        sessions.report(2, round);
        sessions.publish();
        if next(&mut session).await.expect("a message").keep_alive {
            break;
        }
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "its watchdog barks"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn replaced_key_ends_the_stream_of_the_key_before() {
    let mut sessions = TestSessions::new(FilterSources::Addresses);
    let (mut session, _) = sessions.begin(2, 130).await;
    sessions.network.put(Node {
        user_id: 2,
        node_key: vec![9; 32],
        ..node(2)
    });
    sessions.publish();
    assert!(next(&mut session).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn client_of_a_deleted_node_is_told_that_its_key_has_ended() {
    for version in [130, 100, 80, 12] {
        let mut sessions = TestSessions::new(FilterSources::Addresses);
        let (mut session, _) = sessions.begin(2, version).await;
        sessions.network.delete(2);
        sessions.publish();
        let last = next(&mut session).await.expect("the last message");
        let own = last.node.expect("its node");
        assert!(own.key_expiry.is_some_and(|end| end.timestamp() == 123));
        assert_eq!(own.key.as_bytes()[..], node(2).node_key);
        assert_eq!((last.peers.len(), last.peers_removed), (0, vec![1, 3]));
        assert!(next(&mut session).await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn only_clients_that_others_route_through_are_asked_for_signs_of_life() {
    let mut sessions = TestSessions::new(FilterSources::Addresses);
    let (mut session, _) = sessions.begin(1, 130).await;
    let start = Instant::now();
    let quiet = next(&mut session).await.expect("a sign of life");
    assert!(quiet.keep_alive && quiet.ping_request.is_none());
    assert!(start.elapsed() >= frames::KEEP_ALIVE);
    let routes = vec!["10.0.0.0/8".to_owned()];
    sessions.network.put(Node {
        user_id: 7,
        advertised_routes: routes.clone(),
        approved_routes: routes,
        ..node(1)
    });
    sessions.network.compile(&[1, 2, 3]);
    sessions.publish();
    assert!(next(&mut session).await.expect("its routes").node.is_some());
    let start = Instant::now();
    let mut urls = Vec::new();
    while urls.len() < 3 {
        let asked = next(&mut session).await.expect("a question");
        urls.extend(asked.ping_request.map(|ping| ping.url));
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{urls:?}");
    urls.dedup();
    assert_eq!(urls.len(), 3, "each is another");
    let ignored = next(&mut session).await.expect("a sign of life");
    assert!(
        ignored.ping_request.is_none(),
        "it is of those that do not answer"
    );
    session.connection.link().note_answer();
    let asked = next(&mut session).await.expect("a question");
    assert!(asked.ping_request.is_some());
}
