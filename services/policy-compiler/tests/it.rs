//! The policy compiler over gRPC beside the real identity and key-registry services, on both databases.
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
    identity::v1::{
        CreateTailnetRequest, CreateUserRequest, tailnet_service_client::TailnetServiceClient,
        user_service_client::UserServiceClient,
    },
    key_registry::v1::{
        CreatePreAuthKeyRequest, Node, PreAuthKey, RegisterRequest, SetTagsRequest,
        node_service_client::NodeServiceClient,
        pre_auth_key_service_client::PreAuthKeyServiceClient, register_response::Outcome,
        registration_service_client::RegistrationServiceClient,
    },
    policy::v1::{
        CompiledUpdate, ExplainAccessRequest, GetPolicyRequest, ListPolicyVersionsRequest,
        PolicyVersion, PreviewPolicyRequest, SetPolicyRequest, SetPolicyResponse,
        WatchCompiledRequest, policy_compiler_service_client::PolicyCompilerServiceClient,
        policy_service_client::PolicyServiceClient,
    },
};
use bowline_service_kit::{Caller, GrpcChannel, Later, ServiceName, Shutdown, Tasks};
use bowline_test_servers::PostgresServer;
use tonic::{Code, Status, Streaming, service::Routes};

const DEADLINE: Duration = Duration::from_secs(20);

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

    fn policies(&self) -> PolicyServiceClient<GrpcChannel> {
        PolicyServiceClient::new(self.admin()).max_encoding_message_size(64 << 20)
    }

    /// Registers a node of the user that offers a route.
    async fn node(&self, number: u8, route: &str) -> Node {
        let key = PreAuthKey {
            tailnet_id: self.tailnet,
            user_id: self.user,
            ..PreAuthKey::default()
        };
        let request = CreatePreAuthKeyRequest { key: Some(key) };
        let mut keys = PreAuthKeyServiceClient::new(self.admin());
        let made = keys
            .create_pre_auth_key(request)
            .await
            .unwrap()
            .into_inner();
        let request = RegisterRequest {
            machine_key: vec![number; 32],
            node_key: vec![100 + number; 32],
            hostname: format!("n{number}"),
            pre_auth_key: made.secret,
            advertised_routes: vec![route.to_owned()],
            ..RegisterRequest::default()
        };
        let mut client = RegistrationServiceClient::new(self.gateway());
        match client
            .register(request)
            .await
            .unwrap()
            .into_inner()
            .outcome
            .unwrap()
        {
            Outcome::Registered(registered) => registered.node.unwrap(),
            other => panic!("{other:?}"),
        }
    }

    async fn set(
        &self,
        text: &str,
        expected_version: Option<u64>,
    ) -> Result<SetPolicyResponse, Status> {
        let request = SetPolicyRequest {
            tailnet_id: self.tailnet,
            text: text.to_owned(),
            expected_version,
        };
        Ok(self.policies().set_policy(request).await?.into_inner())
    }

    async fn in_force(&self) -> PolicyVersion {
        let request = GetPolicyRequest {
            tailnet_id: self.tailnet,
            version: 0,
        };
        let answer = self.policies().get_policy(request).await.unwrap();
        answer.into_inner().version.unwrap()
    }

    async fn watch(&self) -> Streaming<CompiledUpdate> {
        let request = WatchCompiledRequest {
            tailnet_id: self.tailnet,
        };
        let mut client = PolicyCompilerServiceClient::new(self.gateway());
        client.watch_compiled(request).await.unwrap().into_inner()
    }
}

/// Returns the messages of one update.
async fn update(stream: &mut Streaming<CompiledUpdate>) -> Vec<CompiledUpdate> {
    let mut parts = Vec::new();
    loop {
        let part = tokio::time::timeout(DEADLINE, stream.message()).await;
        let part = part.expect("an update in time").unwrap().unwrap();
        let is_last = part.last;
        parts.push(part);
        if is_last {
            return parts;
        }
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
    lost_race_is_refused_and_nothing_is_overwritten,
    refused_document_leaves_the_last_good_one_in_force,
    failing_tests_refuse_the_save_and_say_which,
    preview_says_who_gains_and_loses_and_changes_nothing,
    explanation_names_the_line,
    routes_tags_and_addresses_are_as_the_policy_says,
    watchers_hear_everything_first_and_then_what_differs,
    hostile_documents_are_refused_by_name,
);

async fn lost_race_is_refused_and_nothing_is_overwritten(served: Served) {
    let first = served.set(r#"{"acls": []} // one"#, Some(0)).await.unwrap();
    assert_eq!(first.version.unwrap().version, 1);
    let lost = served
        .set(r#"{"acls": []} // two"#, Some(0))
        .await
        .unwrap_err();
    assert_eq!(lost.code(), Code::FailedPrecondition);
    assert!(
        lost.message().contains("version 1 is in force, not 0"),
        "{lost:?}"
    );
    let tries = (0..8).map(|number| {
        let served = &served;
        async move {
            served
                .set(&format!(r#"{{"acls": []}} // try {number}"#), Some(1))
                .await
        }
    });
    let answers = futures_util::future::join_all(tries).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let request = ListPolicyVersionsRequest {
        tailnet_id: served.tailnet,
    };
    let versions = served
        .policies()
        .list_policy_versions(request)
        .await
        .unwrap()
        .into_inner()
        .versions;
    assert_eq!(
        versions
            .iter()
            .map(|version| version.version)
            .collect::<Vec<_>>(),
        [2, 1]
    );
    assert!(
        versions
            .iter()
            .all(|version| version.author.contains("test") && version.created_at.is_some())
    );
    let first = GetPolicyRequest {
        tailnet_id: served.tailnet,
        version: 1,
    };
    let kept = served
        .policies()
        .get_policy(first)
        .await
        .unwrap()
        .into_inner()
        .version
        .unwrap();
    assert_eq!(kept.text, r#"{"acls": []} // one"#);
}

async fn refused_document_leaves_the_last_good_one_in_force(served: Served) {
    served.set(r#"{"acls": []}"#, None).await.unwrap();
    let answer = served.set("{\n  \"aclz\": []}", None).await.unwrap();
    assert!(answer.version.is_none());
    let problem = &answer.problems[0];
    assert_eq!((problem.line, problem.column), (2, 3));
    assert_eq!(problem.message, "unknown field: \"aclz\"");
    assert!(problem.hint.contains("acls"));
    assert_eq!(served.in_force().await.version, 1);
}

async fn failing_tests_refuse_the_save_and_say_which(served: Served) {
    let node = served.node(1, "10.0.0.0/8").await;
    let document = |port: u16| {
        format!(
            r#"{{"acls": [{{"action": "accept", "src": ["*"], "dst": ["*:22"]}}],
"tests": [{{"src": "amira@example.com", "accept": ["{}:{port}"]}}]}}"#,
            node.ipv4
        )
    };
    // What the registry acknowledged the compiler hears a moment later.
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while served
        .set(&document(22), None)
        .await
        .unwrap()
        .version
        .is_none()
    {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the node is never heard of"
        );
        tokio::task::yield_now().await;
    }
    let refused = served.set(&document(23), None).await.unwrap();
    assert_eq!(refused.problems[0].line, 2);
    assert!(
        refused.problems[0].message.starts_with("test(s) failed"),
        "{refused:?}"
    );
}

async fn preview_says_who_gains_and_loses_and_changes_nothing(served: Served) {
    let (one, two) = (
        served.node(1, "10.0.0.0/8").await,
        served.node(2, "10.1.0.0/16").await,
    );
    heard_of(&served, 2).await;
    let text = format!(
        r#"{{"acls": [{{"action": "accept", "src": ["{}"], "dst": ["{}:22"]}}]}}"#,
        one.ipv4, two.ipv4
    );
    let request = PreviewPolicyRequest {
        tailnet_id: served.tailnet,
        text,
    };
    let preview = served
        .policies()
        .preview_policy(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(preview.total_pairs, 2);
    let pairs: Vec<_> = preview
        .pairs
        .iter()
        .map(|pair| {
            (
                pair.source_node_id,
                pair.destination_node_id,
                pair.gained.join(" "),
                pair.lost.join(" "),
            )
        })
        .collect();
    let all = "any:*".to_owned();
    assert_eq!(
        pairs,
        [
            (one.id, two.id, "any:22".to_owned(), all.clone()),
            (two.id, one.id, String::new(), all)
        ]
    );
    assert_eq!(served.in_force().await.version, 0);
    let request = PreviewPolicyRequest {
        tailnet_id: served.tailnet,
        text: "{".to_owned(),
    };
    let preview = served
        .policies()
        .preview_policy(request)
        .await
        .unwrap()
        .into_inner();
    assert!(!preview.problems.is_empty() && preview.pairs.is_empty());
}

async fn explanation_names_the_line(served: Served) {
    let (one, two) = (
        served.node(1, "10.0.0.0/8").await,
        served.node(2, "10.1.0.0/16").await,
    );
    heard_of(&served, 2).await;
    let text = format!(
        "{{\"acls\": [\n{{\"action\": \"accept\", \"src\": [\"{}\"], \"dst\": [\"{}:22\"]}}]}}",
        one.ipv4, two.ipv4
    );
    served.set(&text, None).await.unwrap();
    let ask = |source_node_id, destination_node_id| ExplainAccessRequest {
        tailnet_id: served.tailnet,
        source_node_id,
        destination_node_id,
    };
    let there = served
        .policies()
        .explain_access(ask(one.id, two.id))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((there.policy_version, there.allowed_by[0].line), (1, 2));
    let back = served
        .policies()
        .explain_access(ask(two.id, one.id))
        .await
        .unwrap()
        .into_inner();
    assert!(back.allowed_by.is_empty());
    let nobody = served
        .policies()
        .explain_access(ask(one.id, 1 << 40))
        .await
        .unwrap_err();
    assert_eq!(nobody.code(), Code::NotFound);
}

async fn routes_tags_and_addresses_are_as_the_policy_says(served: Served) {
    let policy = r#"{"tagOwners": {"tag:web": ["amira@example.com"]},
        "autoApprovers": {"routes": {"10.0.0.0/8": ["amira@example.com"]}},
        "nodeAttrs": [{"target": ["amira@example.com"], "ipPool": ["100.81.0.0/16"]}]}"#;
    served.set(policy, None).await.unwrap();
    let inside = served.node(1, "10.7.0.0/16").await;
    assert_eq!(inside.approved_routes, ["10.7.0.0/16"]);
    assert_eq!(inside.ipv4, "100.81.0.1");
    let outside = served.node(2, "192.168.0.0/24").await;
    assert!(outside.approved_routes.is_empty());
    assert_eq!(outside.ipv4, "100.81.0.2");
    let mut nodes = NodeServiceClient::new(served.admin());
    let tag = |tag: &str| SetTagsRequest {
        tailnet_id: served.tailnet,
        node_id: inside.id,
        tags: vec![tag.to_owned()],
    };
    let refused = nodes.set_tags(tag("tag:none")).await.unwrap_err();
    assert!(refused.message().contains("tag:none"), "{refused:?}");
    nodes.set_tags(tag("tag:web")).await.unwrap();
}

async fn watchers_hear_everything_first_and_then_what_differs(served: Served) {
    served.node(1, "10.0.0.0/8").await;
    let mut stream = served.watch().await;
    let first = update(&mut stream).await;
    assert!(first[0].full && first[0].common_filter.is_some());
    let mut known: usize = first.iter().map(|part| part.memberships.len()).sum();
    while known < 1 {
        known += update(&mut stream)
            .await
            .iter()
            .map(|part| part.memberships.len())
            .sum::<usize>();
    }
    let second = served.node(2, "10.0.0.0/8").await;
    let mut heard = update(&mut stream).await;
    while !heard
        .iter()
        .flat_map(|part| &part.memberships)
        .any(|member| member.node_id == second.id)
    {
        heard = update(&mut stream).await;
    }
    assert!(!heard[0].full, "a difference");
    let before = heard[0].stamp.unwrap();
    served.set(r#"{"acls": []}"#, None).await.unwrap();
    let edited = update(&mut stream).await;
    let stamp = edited[0].stamp.unwrap();
    assert_eq!((before.policy_version, stamp.policy_version), (0, 1));
    assert!(stamp.registry_revision >= before.registry_revision);
    assert!(
        edited[0]
            .common_filter
            .as_ref()
            .is_some_and(|common| common.rules.is_empty())
    );
}

async fn hostile_documents_are_refused_by_name(served: Served) {
    let deep = format!("{{\"acls\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let answer = served.set(&deep, None).await.unwrap();
    assert!(
        answer.problems[0]
            .message
            .contains("nesting is deeper than 64 levels"),
        "{answer:?}"
    );
    // A document that is too long to be a message is refused where it arrives.
    let long = format!("{{}}{}", " ".repeat(50 << 20));
    let refused = served.set(&long, None).await;
    assert!(refused.is_err() || !refused.unwrap().problems.is_empty());
    let cyclic = r#"{"tagOwners": {"tag:a": ["tag:b"], "tag:b": ["tag:a"]}}"#;
    assert!(
        served.set(cyclic, None).await.unwrap().version.is_some(),
        "adds nothing, harms nothing"
    );
    let rule = r#"{"action": "accept", "src": ["*"], "dst": ["*:22"]},"#;
    let many = format!("{{\"acls\": [{}]}}", rule.repeat(100_000));
    assert!(
        served.set(&many, None).await.unwrap().version.is_some(),
        "many rules are only many"
    );
}

/// Waits until the compiler has heard of as many nodes.
async fn heard_of(served: &Served, nodes: usize) {
    let mut stream = served.watch().await;
    let mut known = std::collections::BTreeSet::new();
    while known.len() < nodes {
        for part in update(&mut stream).await {
            known.extend(part.memberships.iter().map(|member| member.node_id));
        }
    }
}
