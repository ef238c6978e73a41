//! Who is in a group decides at once what the policy gives, and for nobody else.

use std::collections::BTreeSet;

use bowline_proto::{
    identity::v1::{
        AddGroupMemberRequest, CreateGroupRequest, CreateUserRequest, DeleteGroupRequest, Group,
        RemoveGroupMemberRequest, UpdateGroupRequest, User,
        group_service_client::GroupServiceClient, user_service_client::UserServiceClient,
    },
    key_registry::v1::{Node, PreAuthKey, RegisterRequest},
    policy::v1::{CompiledUpdate, ExplainAccessRequest},
};
use bowline_service_kit::GrpcChannel;
use bowline_test_support::on_both;
use prost_types::FieldMask;
use tonic::Streaming;

use crate::compiler::{DEADLINE, TestCompiler, next_update, wait_for_nodes};

on_both!(TestCompiler::start =>
    members_of_a_group_alone_are_compiled_again_when_it_changes,
    policy_may_name_a_group_that_nobody_is_in_and_is_warned_of_one_it_shadows,
);

const POLICY: &str = r#"{"tagOwners": {"tag:db": []},
    "acls": [{"action": "accept", "src": ["group:ops@example.com"], "dst": ["tag:db:22"]}]}"#;

/// A tailnet with two people, a device of each, and a database.
struct TestGroup {
    compiler: TestCompiler,
    kim: User,
    laptop: Node,
    other: Node,
    database: Node,
}

impl TestGroup {
    async fn start(compiler: TestCompiler) -> Self {
        let request = CreateUserRequest {
            tailnet_id: compiler.tailnet,
            login_name: "kim@example.com".to_owned(),
            ..CreateUserRequest::default()
        };
        let mut users = UserServiceClient::new(compiler.admin());
        let kim = users.create_user(request).await.unwrap().into_inner();
        let kim = kim.user.unwrap();
        let key = PreAuthKey {
            user_id: kim.id,
            ..PreAuthKey::default()
        };
        let laptop = register(&compiler, 1, compiler.new_key(key).await).await;
        let other = register(&compiler, 2, compiler.new_user_key(false).await).await;
        compiler
            .set_policy(r#"{"tagOwners": {"tag:db": []}, "acls": []}"#)
            .await;
        let database = register(&compiler, 3, compiler.new_tag_key("tag:db").await).await;
        wait_for_nodes(&compiler, 3).await;
        Self {
            compiler,
            kim,
            laptop,
            other,
            database,
        }
    }

    fn groups(&self) -> GroupServiceClient<GrpcChannel> {
        GroupServiceClient::new(self.compiler.admin())
    }

    async fn create_group(&self, name: &str) -> Group {
        let request = CreateGroupRequest {
            tailnet_id: self.compiler.tailnet,
            name: name.to_owned(),
        };
        let made = self.groups().create_group(request).await.unwrap();
        made.into_inner().group.unwrap()
    }

    async fn rename(&self, group: &Group, name: &str) {
        let request = UpdateGroupRequest {
            group: Some(Group {
                name: name.to_owned(),
                ..group.clone()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["name".to_owned()],
            }),
        };
        self.groups().update_group(request).await.unwrap();
    }

    /// Sets a policy that names the group, and returns its version. What identity acknowledged the compiler hears a moment
    /// later.
    async fn set_policy_of_group(&self) -> u64 {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let answer = self.compiler.try_set_policy(POLICY, None).await.unwrap();
            if answer.problems.is_empty() {
                assert!(answer.warnings.is_empty(), "{:?}", answer.warnings);
                return answer.version.unwrap().version;
            }
            assert!(tokio::time::Instant::now() < deadline, "{answer:?}");
            tokio::task::yield_now().await;
        }
    }

    /// Says whether a device reaches the database, by the policy and the groups as they are.
    async fn reaches(&self, source: &Node) -> bool {
        let request = ExplainAccessRequest {
            tailnet_id: self.compiler.tailnet,
            source_node_id: source.id,
            destination_node_id: self.database.id,
        };
        let answer = self.compiler.policies().explain_access(request).await;
        !answer.unwrap().into_inner().allowed_by.is_empty()
    }

    /// Waits until each node is in a class of a version: the compiler hears of registrations a moment later, and puts a version
    /// in force a moment after it has stored it.
    async fn await_all_placed(&self, stream: &mut Streaming<CompiledUpdate>, version: u64) {
        let all: BTreeSet<_> = [&self.laptop, &self.other, &self.database]
            .map(|node| node.id)
            .into();
        let (mut placed, mut in_force) = (BTreeSet::new(), 0);
        while !all.is_subset(&placed) || in_force < version {
            let parts = next_update(stream).await;
            in_force = parts[0].stamp.unwrap().policy_version;
            let moved = parts.iter().flat_map(|part| &part.memberships);
            placed.extend(moved.map(|member| member.node_id));
        }
    }

    /// Waits until the laptop reaches the database, or does so no more. Nobody else was compiled again on the way.
    async fn await_access(&self, stream: &mut Streaming<CompiledUpdate>, is_allowed: bool) {
        while self.reaches(&self.laptop).await != is_allowed {
            let parts = next_update(stream).await;
            let moved = parts.iter().flat_map(|part| &part.memberships);
            let moved: BTreeSet<_> = moved.map(|member| member.node_id).collect();
            assert!(moved.is_subset(&[self.laptop.id].into()), "{moved:?}");
            assert!(parts.iter().all(|part| !part.full), "all is compiled again");
        }
        assert!(!self.reaches(&self.other).await);
    }
}

async fn register(compiler: &TestCompiler, number: u8, key: String) -> Node {
    let request = RegisterRequest {
        machine_key: vec![number; 32],
        node_key: vec![100 + number; 32],
        hostname: format!("n{number}"),
        pre_auth_key: key,
        ..RegisterRequest::default()
    };
    compiler.register_node(request).await
}

async fn members_of_a_group_alone_are_compiled_again_when_it_changes(compiler: TestCompiler) {
    let test = TestGroup::start(compiler).await;
    let group = test.create_group("ops@example.com").await;
    let version = test.set_policy_of_group().await;
    let mut stream = test.compiler.watch_compiled().await;
    test.await_all_placed(&mut stream, version).await;
    assert!(!test.reaches(&test.laptop).await);

    let tailnet_id = test.compiler.tailnet;
    let add = AddGroupMemberRequest {
        tailnet_id,
        group_id: group.id,
        user_id: test.kim.id,
    };
    let added = test.groups().add_group_member(add).await.unwrap();
    assert_eq!(added.into_inner().user.unwrap().groups, ["ops@example.com"]);
    test.await_access(&mut stream, true).await;

    test.rename(&group, "calls").await;
    test.await_access(&mut stream, false).await;
    test.rename(&group, "ops@example.com").await;
    test.await_access(&mut stream, true).await;

    let remove = RemoveGroupMemberRequest {
        tailnet_id,
        group_id: group.id,
        user_id: test.kim.id,
    };
    test.groups().remove_group_member(remove).await.unwrap();
    test.await_access(&mut stream, false).await;
    test.groups().add_group_member(add).await.unwrap();
    test.await_access(&mut stream, true).await;
    let delete = DeleteGroupRequest {
        tailnet_id,
        group_id: group.id,
    };
    test.groups().delete_group(delete).await.unwrap();
    test.await_access(&mut stream, false).await;
}

async fn policy_may_name_a_group_that_nobody_is_in_and_is_warned_of_one_it_shadows(
    compiler: TestCompiler,
) {
    let test = TestGroup::start(compiler).await;
    let refused = test.compiler.try_set_policy(POLICY, None).await.unwrap();
    assert!(refused.problems[0].message.contains("group not found"));
    let group = test.create_group("ops@example.com").await;
    test.set_policy_of_group().await;
    let shadowing = POLICY.replacen(
        '{',
        r#"{"groups": {"group:ops@example.com": ["amira@example.com"]}, "#,
        1,
    );
    let answer = test.compiler.try_set_policy(&shadowing, None).await;
    let warnings = answer.unwrap().warnings;
    assert!(
        warnings[0]
            .message
            .contains("is a group of the tailnet too"),
        "{warnings:?}"
    );
    // The document's members count.
    let add = AddGroupMemberRequest {
        tailnet_id: test.compiler.tailnet,
        group_id: group.id,
        user_id: test.kim.id,
    };
    test.groups().add_group_member(add).await.unwrap();
    assert!(test.reaches(&test.other).await);
    assert!(!test.reaches(&test.laptop).await);
}
