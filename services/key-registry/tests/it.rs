//! The key registry over gRPC beside the real identity and policy-compiler services, on both databases.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails where something is not as expected"
)]

use std::{sync::Arc, time::Duration};

use bowline_bus::Bus;
use bowline_clock::SystemClock;
use bowline_identity::Identity;
use bowline_key_registry::{KeyRegistry, Peers, RegistryConfig};
use bowline_policy_compiler::PolicyCompiler;
use bowline_proto::{
    changes::v1::{ChangesSinceRequest, SnapshotRequest},
    identity::v1::{
        ApproveLoginRequest, CreateTailnetRequest, CreateUserRequest, DeleteTailnetRequest,
        Tailnet, UpdateTailnetRequest, login_service_client::LoginServiceClient,
        tailnet_service_client::TailnetServiceClient, user_service_client::UserServiceClient,
    },
    key_registry::v1::{
        ClientReport, CreatePreAuthKeyRequest, DeleteNodeRequest, GetNodeRequest, HostReport,
        ListNodesRequest, Node, NodeReport, PreAuthKey, Presence, PresenceReport, RefusalReason,
        RegisterRequest, ReportNodesRequest, key_registry_service_client::KeyRegistryServiceClient,
        node_service_client::NodeServiceClient,
        pre_auth_key_service_client::PreAuthKeyServiceClient, register_response::Outcome,
        registration_service_client::RegistrationServiceClient,
    },
    policy::v1::{SetPolicyRequest, policy_service_client::PolicyServiceClient},
};
use bowline_service_kit::{Caller, GrpcChannel, Later, ServiceName, Shutdown, Tasks};
use bowline_test_servers::PostgresServer;
use prost_types::{FieldMask, Timestamp};
use tonic::service::Routes;

/// The three owners in one process, with a tailnet and a user.
struct Served {
    services: Later,
    tailnet: u64,
    user: u64,
    /// What the databases live in.
    _held: Box<dyn std::any::Any>,
}

impl Served {
    async fn on_sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let url = move |name: &str| format!("sqlite://{}", path.join(name).display());
        Self::start(url, Box::new(directory)).await
    }

    async fn on_postgres() -> Option<Self> {
        let server = PostgresServer::shared().unwrap()?;
        let url = server.new_database().unwrap();
        Some(Self::start(move |_| url.clone(), Box::new(server)).await)
    }

    async fn start(url: impl Fn(&str) -> String, held: Box<dyn std::any::Any>) -> Self {
        let tasks = Tasks::new(Shutdown::new(Duration::from_secs(1)));
        let (bus, clock) = (Bus::in_process(), Arc::new(SystemClock));
        let services = Later::default();
        let channel = |service| services.channel(Caller::Service(service));
        let mut routes = Routes::builder();
        let url_of_identity = url("identity");
        let identity = Identity::start(&url_of_identity, bus.clone(), clock.clone(), &tasks);
        identity.await.unwrap().add_to(&mut routes);
        let own = ServiceName::KeyRegistry;
        let peers = Peers {
            identity: channel(own),
            compiler: channel(own),
        };
        let config = RegistryConfig::default();
        let url_of_registry = url("registry");
        let registry = KeyRegistry::start(
            &url_of_registry,
            config,
            peers,
            bus.clone(),
            clock.clone(),
            &tasks,
        );
        registry.await.unwrap().add_to(&mut routes);
        let own = ServiceName::PolicyCompiler;
        let sources = (channel(own), channel(own));
        let url_of_policies = url("policy");
        let compiler = PolicyCompiler::start(&url_of_policies, sources, bus, clock, &tasks);
        compiler.await.unwrap().add_to(&mut routes);
        services.serve(routes.routes());

        let admin = services.channel(Caller::Admin {
            name: "test".to_owned(),
        });
        let request = CreateTailnetRequest {
            name: "home".to_owned(),
            settings: None,
        };
        let made = TailnetServiceClient::new(admin.clone())
            .create_tailnet(request)
            .await
            .unwrap();
        let tailnet = made.into_inner().tailnet.unwrap().id;
        let login_name = "amira@example.com".to_owned();
        let request = CreateUserRequest {
            tailnet_id: tailnet,
            login_name,
            ..Default::default()
        };
        let made = UserServiceClient::new(admin)
            .create_user(request)
            .await
            .unwrap();
        let user = made.into_inner().user.unwrap().id;
        Self {
            services,
            tailnet,
            user,
            _held: held,
        }
    }

    fn admin(&self) -> GrpcChannel {
        self.services.channel(Caller::Admin {
            name: "test".to_owned(),
        })
    }

    fn gateway(&self) -> GrpcChannel {
        self.services
            .channel(Caller::Service(ServiceName::NetmapGateway))
    }

    async fn key(&self, reusable: bool) -> String {
        let key = PreAuthKey {
            tailnet_id: self.tailnet,
            user_id: self.user,
            reusable,
            ..PreAuthKey::default()
        };
        let request = CreatePreAuthKeyRequest { key: Some(key) };
        let mut client = PreAuthKeyServiceClient::new(self.admin());
        client
            .create_pre_auth_key(request)
            .await
            .unwrap()
            .into_inner()
            .secret
    }

    async fn register(&self, request: RegisterRequest) -> Outcome {
        let mut client = RegistrationServiceClient::new(self.gateway());
        client
            .register(request)
            .await
            .unwrap()
            .into_inner()
            .outcome
            .unwrap()
    }

    async fn registered(&self, request: RegisterRequest) -> Node {
        match self.register(request).await {
            Outcome::Registered(registered) => registered.node.unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

fn request(machine: u8, node: u8) -> RegisterRequest {
    RegisterRequest {
        machine_key: vec![machine; 32],
        node_key: vec![node; 32],
        hostname: "laptop".to_owned(),
        ..RegisterRequest::default()
    }
}

fn with_key(machine: u8, node: u8, key: &str) -> RegisterRequest {
    RegisterRequest {
        pre_auth_key: key.to_owned(),
        ..request(machine, node)
    }
}

fn refusal(outcome: Outcome) -> RefusalReason {
    match outcome {
        Outcome::Refused(refused) => refused.reason(),
        other => panic!("{other:?}"),
    }
}

/// Runs one case on both databases.
macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod sqlite { $(#[tokio::test] async fn $name() { super::$name(super::Served::on_sqlite().await).await; })* }
        mod postgres { $(#[tokio::test] async fn $name() {
            let Some(served) = super::Served::on_postgres().await else { return };
            super::$name(served).await;
        })* }
    };
}

on_both!(
    one_off_key_registers_one_node_however_many_try,
    key_of_another_machine_is_refused_on_every_path,
    restart_with_a_used_up_key_succeeds,
    one_off_key_is_used_up_once_by_a_request_that_is_sent_again,
    rotation_keeps_a_numbered_name,
    rotation_is_refused_unproven_where_the_tailnet_asks_for_proof,
    nodes_of_a_deleted_tailnet_go_with_it,
    tags_asked_for_later_are_given_or_end_the_key,
    rotation_keeps_the_node_and_retires_the_old_key,
    logout_ends_the_key_and_deletes_an_ephemeral_node,
    followed_up_login_makes_one_node,
    names_and_addresses_are_unique,
    reports_reach_followers_and_old_ones_are_dropped,
    requested_tags_need_an_owner,
);

async fn one_off_key_registers_one_node_however_many_try(served: Served) {
    let key = served.key(false).await;
    let tries = (1..=32).map(|number| served.register(with_key(number, 100 + number, &key)));
    let mut registered = 0;
    for outcome in futures_util::future::join_all(tries).await {
        match outcome {
            Outcome::Registered(_) => registered += 1,
            other => assert_eq!(refusal(other), RefusalReason::PreAuthKeyUsed),
        }
    }
    assert_eq!(registered, 1);
    let wrong = served
        .register(with_key(1, 200, "bowline-auth-000000000000-00"))
        .await;
    assert_eq!(refusal(wrong), RefusalReason::PreAuthKeyInvalid);
}

async fn key_of_another_machine_is_refused_on_every_path(served: Served) {
    let key = served.key(true).await;
    let own = served.registered(with_key(1, 101, &key)).await;
    let foreign = RefusalReason::NodeKeyOfAnotherMachine;
    assert_eq!(
        refusal(served.register(with_key(2, 101, &key)).await),
        foreign
    );
    assert_eq!(refusal(served.register(request(2, 101)).await), foreign);
    let past = Some(Timestamp {
        seconds: 123,
        nanos: 0,
    });
    let logout = RegisterRequest {
        expiry: past,
        ..request(2, 101)
    };
    assert_eq!(refusal(served.register(logout).await), foreign);
    let old_node_key = vec![101; 32];
    let thief = RegisterRequest {
        old_node_key,
        ..with_key(2, 102, &key)
    };
    assert_eq!(refusal(served.register(thief).await), foreign);
    served.registered(with_key(2, 102, &key)).await;
    assert_eq!(
        served.registered(request(1, 101)).await.node_key,
        own.node_key
    );
}

async fn restart_with_a_used_up_key_succeeds(served: Served) {
    let key = served.key(false).await;
    let first = served.registered(with_key(1, 101, &key)).await;
    let again = served.registered(with_key(1, 101, &key)).await;
    assert_eq!((first.id, first.ipv4), (again.id, again.ipv4));
}

async fn one_off_key_is_used_up_once_by_a_request_that_is_sent_again(served: Served) {
    let key = served.key(false).await;
    let tries = (0..8).map(|_| served.registered(with_key(1, 101, &key)));
    let nodes = futures_util::future::join_all(tries).await;
    assert!(nodes.iter().all(|node| node.id == nodes[0].id));
}

async fn rotation_keeps_a_numbered_name(served: Served) {
    let key = served.key(true).await;
    served.registered(with_key(1, 101, &key)).await;
    assert_eq!(
        served.registered(with_key(2, 102, &key)).await.name,
        "laptop-1"
    );
    let rotate = RegisterRequest {
        old_node_key: vec![102; 32],
        ..with_key(2, 103, &key)
    };
    assert_eq!(served.registered(rotate).await.name, "laptop-1");
}

async fn rotation_is_refused_unproven_where_the_tailnet_asks_for_proof(served: Served) {
    let wanted = Tailnet {
        id: served.tailnet,
        require_key_proof: true,
        ..Tailnet::default()
    };
    let request = UpdateTailnetRequest {
        tailnet: Some(wanted),
        update_mask: Some(FieldMask {
            paths: vec!["require_key_proof".to_owned()],
        }),
    };
    let mut tailnets = TailnetServiceClient::new(served.admin());
    tailnets.update_tailnet(request).await.unwrap();
    let (key, once) = (served.key(true).await, served.key(false).await);
    let first = served.registered(with_key(1, 101, &key)).await;
    let rotate = RegisterRequest {
        old_node_key: vec![101; 32],
        ..with_key(1, 102, &once)
    };
    let outcome = served.register(rotate.clone()).await;
    assert_eq!(refusal(outcome), RefusalReason::NodeKeyUnproven);
    // A refusal changes nothing: the one-off key still works, the old node key, too.
    served.registered(self::request(1, 101)).await;
    let proven = RegisterRequest {
        proven_node_keys: vec![vec![101; 32], vec![102; 32]],
        ..rotate
    };
    assert_eq!(served.registered(proven).await.id, first.id);
}

async fn nodes_of_a_deleted_tailnet_go_with_it(served: Served) {
    let mut tailnets = TailnetServiceClient::new(served.admin());
    let request = CreateTailnetRequest {
        name: "passing".to_owned(),
        settings: None,
    };
    let made = tailnets.create_tailnet(request).await.unwrap();
    let tailnet_id = made.into_inner().tailnet.unwrap().id;
    let key = PreAuthKey {
        tailnet_id,
        tags: vec!["tag:web".to_owned()],
        ..PreAuthKey::default()
    };
    let request = CreatePreAuthKeyRequest { key: Some(key) };
    let mut keys = PreAuthKeyServiceClient::new(served.admin());
    let secret = keys
        .create_pre_auth_key(request)
        .await
        .unwrap()
        .into_inner()
        .secret;
    served.registered(with_key(1, 101, &secret)).await;
    let request = DeleteTailnetRequest { tailnet_id };
    tailnets.delete_tailnet(request).await.unwrap();
    let mut nodes = NodeServiceClient::new(served.admin());
    let gone = async {
        loop {
            let request = ListNodesRequest { tailnet_id };
            if nodes
                .list_nodes(request)
                .await
                .unwrap()
                .into_inner()
                .nodes
                .is_empty()
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone)
        .await
        .unwrap();
    assert!(matches!(
        served.register(self::request(1, 101)).await,
        Outcome::KeyExpired(_)
    ));
}

async fn tags_asked_for_later_are_given_or_end_the_key(served: Served) {
    let text = r#"{"tagOwners": {"tag:web": ["amira@example.com"], "tag:db": []}}"#;
    let request = SetPolicyRequest {
        tailnet_id: served.tailnet,
        text: text.to_owned(),
        expected_version: None,
    };
    let stored = PolicyServiceClient::new(served.admin())
        .set_policy(request)
        .await;
    assert!(stored.unwrap().into_inner().problems.is_empty());
    let key = served.key(true).await;
    for (number, tag, is_given) in [(1, "tag:web", true), (2, "tag:db", false)] {
        let node = served
            .registered(with_key(number, 100 + number, &key))
            .await;
        let client = ClientReport {
            sequence: 1,
            host: Some(HostReport {
                hostname: "laptop".to_owned(),
                requested_tags: vec![tag.to_owned()],
                ..HostReport::default()
            }),
            ..ClientReport::default()
        };
        let report = NodeReport {
            tailnet_id: served.tailnet,
            node_id: node.id,
            node_key: node.node_key,
            client: Some(client),
            ..NodeReport::default()
        };
        let request = ReportNodesRequest {
            reports: vec![report],
            gateway: "g1".to_owned(),
        };
        let mut registry = KeyRegistryServiceClient::new(served.gateway());
        let results = registry
            .report_nodes(request)
            .await
            .unwrap()
            .into_inner()
            .results;
        assert!(results[0].accepted && !results[0].again);
        let request = GetNodeRequest {
            tailnet_id: served.tailnet,
            node_id: node.id,
        };
        let found = NodeServiceClient::new(served.admin())
            .get_node(request)
            .await;
        let found = found.unwrap().into_inner().node.unwrap().node.unwrap();
        assert_eq!(found.tags == [tag], is_given, "{tag}");
        assert_eq!(found.expired, !is_given, "{tag}");
    }
}

async fn rotation_keeps_the_node_and_retires_the_old_key(served: Served) {
    let key = served.key(true).await;
    let first = served.registered(with_key(1, 101, &key)).await;
    let old_node_key = vec![101; 32];
    let rotate = RegisterRequest {
        old_node_key,
        ..with_key(1, 102, &key)
    };
    let second = served.registered(rotate.clone()).await;
    assert_eq!(
        (second.id, &second.ipv4, &second.name),
        (first.id, &first.ipv4, &first.name)
    );
    // A client names its last key with every request: that is history, no rotation.
    assert_eq!(served.registered(rotate).await.id, first.id);
    // The retired key is bound to nobody again: its machine is told to make another.
    assert!(matches!(
        served.register(with_key(1, 101, &key)).await,
        Outcome::KeyExpired(_)
    ));
    let foreign = served.register(with_key(2, 101, &key)).await;
    assert_eq!(refusal(foreign), RefusalReason::NodeKeyOfAnotherMachine);
}

async fn logout_ends_the_key_and_deletes_an_ephemeral_node(served: Served) {
    let key = served.key(true).await;
    served.registered(with_key(1, 101, &key)).await;
    let past = Some(Timestamp {
        seconds: 123,
        nanos: 0,
    });
    let logout = RegisterRequest {
        expiry: past,
        ..with_key(1, 101, &key)
    };
    assert!(matches!(
        served.register(logout).await,
        Outcome::LoggedOut(_)
    ));
    assert!(matches!(
        served.register(with_key(1, 101, &key)).await,
        Outcome::KeyExpired(_)
    ));

    let passing = RegisterRequest {
        ephemeral: true,
        ..with_key(1, 102, &key)
    };
    let node = served.registered(passing).await;
    let logout = RegisterRequest {
        expiry: past,
        ..request(1, 102)
    };
    served.register(logout).await;
    let delete = DeleteNodeRequest {
        tailnet_id: served.tailnet,
        node_id: node.id,
    };
    let gone = NodeServiceClient::new(served.admin())
        .delete_node(delete)
        .await
        .unwrap_err();
    assert_eq!(gone.code(), tonic::Code::NotFound);
}

async fn followed_up_login_makes_one_node(served: Served) {
    let Outcome::LoginNeeded(needed) = served.register(request(1, 101)).await else {
        panic!("a login is needed")
    };
    let followup = RegisterRequest {
        login_id: needed.login_id.clone(),
        ..request(1, 101)
    };
    let pending = served.register(followup.clone()).await;
    assert!(matches!(pending, Outcome::LoginNeeded(again) if again.login_id == needed.login_id));
    let approve = ApproveLoginRequest {
        login_id: needed.login_id.clone(),
        tailnet_id: served.tailnet,
        user_id: served.user,
    };
    LoginServiceClient::new(served.admin())
        .approve_login(approve)
        .await
        .unwrap();
    // Another device that follows up the same login gets one of its own.
    let thief = RegisterRequest {
        login_id: needed.login_id.clone(),
        ..request(2, 102)
    };
    let other = served.register(thief).await;
    assert!(matches!(other, Outcome::LoginNeeded(new) if new.login_id != needed.login_id));
    let first = served.registered(followup.clone()).await;
    assert_eq!(
        served.registered(followup).await.id,
        first.id,
        "a lost answer is given again"
    );
}

async fn names_and_addresses_are_unique(served: Served) {
    let key = served.key(true).await;
    let mut names = Vec::new();
    let mut addresses = Vec::new();
    for number in 1..=4 {
        let node = served
            .registered(with_key(number, 100 + number, &key))
            .await;
        names.push(node.name);
        addresses.push((node.ipv4, node.ipv6));
    }
    assert_eq!(names, ["laptop", "laptop-1", "laptop-2", "laptop-3"]);
    assert_eq!(addresses[0].0, "100.64.0.1");
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 4);
}

async fn reports_reach_followers_and_old_ones_are_dropped(served: Served) {
    let key = served.key(true).await;
    let node = served.registered(with_key(1, 101, &key)).await;
    let mut client = KeyRegistryServiceClient::new(served.gateway());
    let presence = Presence {
        epoch: 0,
        gateway: "g1".to_owned(),
    };
    let began = PresenceReport {
        presence: Some(presence),
        live: true,
        draining: false,
    };
    let report = |sequence, home_derp| ClientReport {
        sequence,
        host: Some(HostReport {
            home_derp,
            hostname: "laptop".to_owned(),
            ..HostReport::default()
        }),
        ..ClientReport::default()
    };
    let of_node = |node_key: Vec<u8>, client, presence| NodeReport {
        tailnet_id: served.tailnet,
        node_id: node.id,
        node_key,
        client: Some(client),
        presence,
        age_milliseconds: 0,
    };
    let own = vec![101; 32];
    let reports = vec![
        of_node(own.clone(), report(2, 900), Some(began)),
        of_node(own, report(1, 901), None),
        of_node(vec![102; 32], report(3, 902), None),
    ];
    let results = client
        .report_nodes(ReportNodesRequest {
            reports,
            gateway: "g1".to_owned(),
        })
        .await
        .unwrap()
        .into_inner();
    let accepted: Vec<_> = results
        .results
        .iter()
        .map(|result| result.accepted)
        .collect();
    assert_eq!(
        (accepted, results.results[0].epoch),
        (vec![true, true, false], 1)
    );

    let since = ChangesSinceRequest {
        tailnet_id: served.tailnet,
        revision: 1,
        soft_revision: 0,
    };
    let changes = client.changes_since(since).await.unwrap().into_inner();
    assert_eq!((changes.soft.len(), changes.soft[0].home_derp), (1, 900));
    assert!(changes.soft[0].online && changes.soft_through == changes.soft_head);
    let request = SnapshotRequest {
        tailnet_id: served.tailnet,
    };
    let mut stream = client.snapshot(request).await.unwrap().into_inner();
    let only = stream.message().await.unwrap().unwrap();
    assert!(only.last && only.nodes.len() == 1 && only.soft[0].home_derp == 900);
}

async fn requested_tags_need_an_owner(served: Served) {
    let key = served.key(true).await;
    let requested_tags = vec!["tag:web".to_owned()];
    let refused = served
        .register(RegisterRequest {
            requested_tags,
            ..with_key(1, 101, &key)
        })
        .await;
    let Outcome::Refused(refused) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(refused.reason(), RefusalReason::TagsNotPermitted);
    assert_eq!(
        refused.text,
        "requested tags [tag:web] are invalid or not permitted"
    );
}
