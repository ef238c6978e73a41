//! Conditions on custom attributes hold from when these are set until they end.

use std::collections::{BTreeMap, BTreeSet};

use bowline_proto::{
    key_registry::v1::{
        AttributeToSet, CustomValue, Node, NodeAttributesUpdate, RegisterRequest,
        SetNodeAttributesRequest, attribute_to_set::Expiry, custom_value::Kind,
        node_service_client::NodeServiceClient,
    },
    policy::v1::{
        AttributeConfig, AttributeType, CompiledUpdate, DescribeAttributesRequest,
        ExplainAccessRequest, policy_compiler_service_client::PolicyCompilerServiceClient,
    },
};
use bowline_service_kit::ServiceName;
use bowline_test_support::on_both;
use tonic::Streaming;

use crate::compiler::{DEADLINE, TestCompiler, next_update, wait_for_nodes};

on_both!(TestCompiler::start =>
    access_begins_with_an_attribute_and_ends_with_it,
    rules_have_the_default_posture_or_their_own,
    ssh_rules_heed_attributes,
    the_newest_policy_says_what_attributes_are,
);

/// A tailnet with two devices.
struct TwoDevices {
    compiler: TestCompiler,
    one: Node,
    other: Node,
}

impl TwoDevices {
    async fn start(compiler: TestCompiler, policy: &str) -> Self {
        let register = async |number: u8| {
            let request = RegisterRequest {
                machine_key: vec![number; 32],
                node_key: vec![100 + number; 32],
                hostname: format!("n{number}"),
                pre_auth_key: compiler.new_user_key(false).await,
                ..RegisterRequest::default()
            };
            compiler.register_node(request).await
        };
        let (one, other) = (register(1).await, register(2).await);
        wait_for_nodes(&compiler, 2).await;
        compiler.set_policy(policy).await;
        Self {
            compiler,
            one,
            other,
        }
    }

    /// Sets an attribute of the first device, for so many seconds; zero is for ever.
    async fn set(&self, name: &str, kind: Kind, seconds: i64) {
        let life = prost_types::Duration { seconds, nanos: 0 };
        let set = AttributeToSet {
            name: name.to_owned(),
            value: Some(CustomValue { kind: Some(kind) }),
            expiry: (seconds > 0).then_some(Expiry::ExpiresAfter(life)),
            comment: String::new(),
        };
        self.update(NodeAttributesUpdate {
            node_id: self.one.id,
            set: vec![set],
            remove: Vec::new(),
        })
        .await;
    }

    async fn remove(&self, name: &str) {
        self.update(NodeAttributesUpdate {
            node_id: self.one.id,
            set: Vec::new(),
            remove: vec![name.to_owned()],
        })
        .await;
    }

    async fn update(&self, update: NodeAttributesUpdate) {
        let request = SetNodeAttributesRequest {
            tailnet_id: self.compiler.tailnet,
            updates: vec![update],
        };
        let mut nodes = NodeServiceClient::new(self.compiler.admin());
        nodes.set_node_attributes(request).await.unwrap();
    }

    /// Returns the lines of the rules that let the first device reach the second.
    async fn rules(&self) -> Vec<u32> {
        let request = ExplainAccessRequest {
            tailnet_id: self.compiler.tailnet,
            source_node_id: self.one.id,
            destination_node_id: self.other.id,
        };
        let answer = self.compiler.policies().explain_access(request).await;
        let rules = answer.unwrap().into_inner().allowed_by.into_iter();
        rules.map(|rule| rule.line).collect()
    }

    /// Waits until these rules let the first device reach the second.
    async fn await_rules(&self, lines: &[u32]) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let found = self.rules().await;
            if found == lines {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{found:?}");
            tokio::task::yield_now().await;
        }
    }
}

/// Who may log in over SSH, as the updates of a stream say.
#[derive(Default)]
struct SshSources {
    lists: BTreeSet<u64>,
    members: BTreeMap<u64, BTreeSet<String>>,
}

impl SshSources {
    /// Waits until an address is among them, or is so no more.
    async fn await_address(
        &mut self,
        stream: &mut Streaming<CompiledUpdate>,
        address: &str,
        is_in: bool,
    ) {
        let holds = |sources: &Self| {
            let lists = sources.lists.iter();
            let mut members = lists.filter_map(|id| sources.members.get(id)).flatten();
            members.any(|member| member == address)
        };
        while self.lists.is_empty() || holds(self) != is_in {
            for part in next_update(stream).await {
                let rules = part.settings.iter().flat_map(|settings| &settings.ssh);
                let principals = rules.flat_map(|rule| &rule.principals);
                self.lists.extend(principals.map(|list| list.id));
                for change in part.source_lists {
                    let members = self.members.entry(change.id).or_default();
                    members.retain(|member| !change.removed.contains(member));
                    members.extend(change.added);
                }
            }
        }
    }
}

async fn access_begins_with_an_attribute_and_ends_with_it(compiler: TestCompiler) {
    let policy = r#"{
        "postures": {"posture:p": ["custom:level >= 3", "custom:blocked NOT SET"]},
        "acls": [{"action": "accept", "src": ["*"], "dst": ["*:22"], "srcPosture": ["posture:p"]}],
    }"#;
    let test = TwoDevices::start(compiler, policy).await;
    test.await_rules(&[]).await;
    test.set("custom:level", Kind::Number(2.0), 0).await;
    test.set("custom:level", Kind::Number(3.0), 0).await;
    test.await_rules(&[3]).await;
    test.set("custom:blocked", Kind::Flag(true), 0).await;
    test.await_rules(&[]).await;
    test.remove("custom:blocked").await;
    test.await_rules(&[3]).await;
    // An attribute that ends by itself.
    test.set("custom:level", Kind::Number(4.0), 1).await;
    test.await_rules(&[]).await;
    let left = test.compiler.node(test.one.id).await.attributes;
    assert!(left.is_empty(), "{left:?}");
}

async fn rules_have_the_default_posture_or_their_own(compiler: TestCompiler) {
    let policy = r#"{
        "postures": {"posture:a": ["custom:a"], "posture:b": ["custom:b == 'x'"]},
        "defaultSrcPosture": ["posture:a"],
        "acls": [{"action": "accept", "src": ["*"], "dst": ["*:22"]}],
        "grants": [
            {"src": ["*"], "dst": ["*"], "ip": ["80"], "srcPosture": ["posture:b"]},
        ],
    }"#;
    let test = TwoDevices::start(compiler, policy).await;
    test.await_rules(&[]).await;
    test.set("custom:a", Kind::Flag(true), 0).await;
    test.await_rules(&[4]).await;
    test.set("custom:b", Kind::Text("x".to_owned()), 0).await;
    test.await_rules(&[4, 6]).await;
    test.remove("custom:a").await;
    test.await_rules(&[6]).await;
    test.remove("custom:b").await;
    test.await_rules(&[]).await;
}

async fn ssh_rules_heed_attributes(compiler: TestCompiler) {
    let policy = r#"{
        "postures": {"posture:p": ["custom:shell"]},
        "ssh": [{"action": "accept", "src": ["autogroup:member"], "dst": ["autogroup:self"], "users": ["root"], "srcPosture": ["posture:p"]}],
    }"#;
    let test = TwoDevices::start(compiler, policy).await;
    let mut stream = test.compiler.watch_compiled().await;
    let (mut sources, address) = (SshSources::default(), test.one.ipv4.clone());
    sources.await_address(&mut stream, &address, false).await;
    test.set("custom:shell", Kind::Flag(true), 0).await;
    sources.await_address(&mut stream, &address, true).await;
    test.remove("custom:shell").await;
    sources.await_address(&mut stream, &address, false).await;
}

async fn the_newest_policy_says_what_attributes_are(compiler: TestCompiler) {
    let policy = r#"{"attrConfig": {
        "custom:a": {"type": "string", "allowSetByNode": true},
        "custom:b": {"type": "number"},
        "custom:c": {"type": "bool", "allowSetByNode": false},
        "custom:d": {},
    }}"#;
    let names = [
        "custom:a", "custom:b", "custom:c", "custom:d", "custom:e", "custom:a",
    ];
    let request = DescribeAttributesRequest {
        tailnet_id: compiler.tailnet,
        names: names.map(str::to_owned).into(),
    };
    let registry = compiler.service(ServiceName::KeyRegistry);
    let mut client = PolicyCompilerServiceClient::new(registry);
    let none = client.describe_attributes(request.clone()).await.unwrap();
    assert_eq!(none.into_inner().attributes, []);
    compiler.set_policy(policy).await;
    let config = |name: &str, kind: AttributeType, allow_set_by_node| AttributeConfig {
        name: name.to_owned(),
        r#type: kind.into(),
        allow_set_by_node,
    };
    let expected = [
        config("custom:a", AttributeType::String, true),
        config("custom:b", AttributeType::Number, false),
        config("custom:c", AttributeType::Bool, false),
        config("custom:d", AttributeType::Unspecified, false),
    ];
    let described = client.describe_attributes(request).await.unwrap();
    assert_eq!(described.into_inner().attributes, expected);
}
