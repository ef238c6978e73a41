//! Groups: by administrators, and from rows of a release that knew them by name only.

use std::time::{Duration, Instant};

use bowline_proto::changes::v1::{ChangesSinceRequest, HeadsRequest, SnapshotRequest};
use bowline_proto::identity::v1::group_service_client::GroupServiceClient;
use bowline_proto::identity::v1::identity_change::Change;
use bowline_proto::identity::v1::identity_service_client::IdentityServiceClient;
use bowline_proto::identity::v1::user_service_client::UserServiceClient;
use bowline_proto::identity::v1::{
    AddGroupMemberRequest, CreateGroupRequest, DeleteGroupRequest, DeleteTailnetRequest,
    DeleteUserRequest, Group, GroupSource, ListGroupsRequest, ListUsersRequest,
    RemoveGroupMemberRequest, Tailnet, UpdateGroupRequest, UpdateUserRequest, User,
    tailnet_service_client::TailnetServiceClient,
};
use bowline_test_servers::on_both;
use prost::Message as _;
use prost_types::FieldMask;
use serde_json::json;
use tonic::{Code, Status};

use crate::identity::TestIdentity;

on_both!(TestIdentity::start =>
    group_is_renamed_by_one_entry_and_its_members_follow,
    what_is_gone_takes_its_groups_along,
    names_that_a_policy_can_not_mean_are_refused,
    users_of_a_release_that_knows_names_alone_are_taken_over,
    what_a_provider_says_is_not_changed_by_hand,
    names_that_are_set_become_groups,
);

impl TestIdentity {
    fn groups(&self) -> GroupServiceClient<bowline_service_kit::GrpcChannel> {
        GroupServiceClient::new(self.admin())
    }

    async fn create_group(&self, home: &Tailnet, name: &str) -> Result<Group, Status> {
        let request = CreateGroupRequest {
            tailnet_id: home.id,
            name: name.to_owned(),
        };
        let made = self.groups().create_group(request).await?;
        Ok(made.into_inner().group.unwrap())
    }

    async fn add_user(&self, group: &Group, user: &User) -> Result<User, Status> {
        let request = AddGroupMemberRequest {
            tailnet_id: group.tailnet_id,
            group_id: group.id,
            user_id: user.id,
        };
        let added = self.groups().add_group_member(request).await?;
        Ok(added.into_inner().user.unwrap())
    }

    async fn remove_user(&self, group: &Group, user: &User) -> Result<User, Status> {
        let request = RemoveGroupMemberRequest {
            tailnet_id: group.tailnet_id,
            group_id: group.id,
            user_id: user.id,
        };
        let removed = self.groups().remove_group_member(request).await?;
        Ok(removed.into_inner().user.unwrap())
    }

    async fn rename(&self, group: &Group, name: &str) -> Result<Group, Status> {
        let request = UpdateGroupRequest {
            group: Some(Group {
                name: name.to_owned(),
                ..group.clone()
            }),
            update_mask: mask("name"),
        };
        let changed = self.groups().update_group(request).await?;
        Ok(changed.into_inner().group.unwrap())
    }

    async fn delete_group(&self, group: &Group) -> Result<(), Status> {
        let request = DeleteGroupRequest {
            tailnet_id: group.tailnet_id,
            group_id: group.id,
        };
        self.groups().delete_group(request).await.map(drop)
    }

    async fn set_names(&self, user: &User, names: &[&str]) -> Result<User, Status> {
        let request = UpdateUserRequest {
            user: Some(User {
                groups: names.iter().map(ToString::to_string).collect(),
                ..user.clone()
            }),
            update_mask: mask("groups"),
        };
        let mut users = UserServiceClient::new(self.admin());
        Ok(users.update_user(request).await?.into_inner().user.unwrap())
    }

    /// Returns the groups of a tailnet: name, source, and how many are in it.
    async fn listed_groups(&self, home: &Tailnet) -> Vec<(String, GroupSource, u32)> {
        let request = ListGroupsRequest {
            tailnet_id: home.id,
        };
        let listed = self.groups().list_groups(request).await.unwrap();
        let listed = listed.into_inner().groups.into_iter();
        let describe = |listed: bowline_proto::identity::v1::ListedGroup| {
            let group = listed.group.unwrap();
            let source = group.source();
            (group.name, source, listed.members)
        };
        listed.map(describe).collect()
    }

    async fn listed_user(&self, home: &Tailnet, login_name: &str) -> User {
        let mut users = UserServiceClient::new(self.admin());
        let request = ListUsersRequest {
            tailnet_id: home.id,
            ..ListUsersRequest::default()
        };
        let listed = users.list_users(request).await.unwrap().into_inner().users;
        let mut listed = listed.into_iter();
        listed.find(|user| user.login_name == login_name).unwrap()
    }

    async fn head(&self, home: &Tailnet) -> u64 {
        let mut identity = IdentityServiceClient::new(self.registry());
        let request = HeadsRequest {
            tailnet_ids: vec![home.id],
        };
        let heads = identity.heads(request).await.unwrap().into_inner().heads;
        heads[0].revision
    }

    async fn entries_since(&self, home: &Tailnet, revision: u64) -> Vec<Change> {
        let mut identity = IdentityServiceClient::new(self.registry());
        let request = ChangesSinceRequest {
            tailnet_id: home.id,
            revision,
            soft_revision: 0,
        };
        let changes = identity.changes_since(request).await.unwrap().into_inner();
        let entries = changes.entries.into_iter();
        entries.filter_map(|entry| entry.change).collect()
    }

    async fn execute(&self, statement: &str) {
        let pool = sqlx::AnyPool::connect(&self.url()).await.unwrap();
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        sqlx::query(statement).execute(&pool).await.unwrap();
    }

    /// Writes a user's row as a release does that knows groups by name only.
    async fn write_as_older_release(&self, user: &User, groups: &[&str]) {
        let body = User {
            groups: groups.iter().map(ToString::to_string).collect(),
            memberships: Vec::new(),
            has_memberships: false,
            ..user.clone()
        };
        let pool = sqlx::AnyPool::connect(&self.url()).await.unwrap();
        let statement = format!("UPDATE {} SET body = $2 WHERE id = $1", self.table("users"));
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(user.id.cast_signed())
            .bind(body.encode_to_vec())
            .execute(&pool)
            .await
            .unwrap();
    }

    /// Lets an identity provider say that a user is in a group.
    async fn claim(&self, group: &Group, user: &User, connection: u64) {
        let table = self.table("group_members");
        self.execute(&format!(
            "INSERT INTO {table} (user_id, group_id, source, connection_id, tailnet_id)
             VALUES ({}, {}, 2, {connection}, {})",
            user.id, group.id, group.tailnet_id
        ))
        .await;
    }
}

fn mask(path: &str) -> Option<FieldMask> {
    Some(FieldMask {
        paths: vec![path.to_owned()],
    })
}

async fn group_is_renamed_by_one_entry_and_its_members_follow(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let amira = identity.new_user(home.id, "amira@example.com").await;
    let kim = identity.new_user(home.id, "kim@example.com").await;
    let (amira, kim) = (amira.unwrap(), kim.unwrap());
    let ops = identity.create_group(&home, "ops@example.com").await;
    let ops = ops.unwrap();
    for user in [&amira, &kim, &kim] {
        let added = identity.add_user(&ops, user).await.unwrap();
        assert_eq!(added.groups, ["ops@example.com"]);
    }
    let manual = GroupSource::Manual;
    let listed = identity.listed_groups(&home).await;
    assert_eq!(listed, [("ops@example.com".to_owned(), manual, 2)]);

    let before = identity.head(&home).await;
    let renamed = identity.rename(&ops, "on call").await.unwrap();
    identity.rename(&ops, "on call").await.unwrap();
    assert_eq!(
        identity.entries_since(&home, before).await,
        [Change::Group(renamed.clone())]
    );
    let member = identity.listed_user(&home, "kim@example.com").await;
    assert_eq!(member.groups, ["on call"]);
    assert_eq!(member.memberships[0].group_id, ops.id);
    // A row that an older release reads has the name, too.
    let mut client = IdentityServiceClient::new(identity.registry());
    let request = SnapshotRequest {
        tailnet_id: home.id,
    };
    let mut stream = client.snapshot(request).await.unwrap().into_inner();
    let only = stream.message().await.unwrap().unwrap();
    assert_eq!(only.groups, std::slice::from_ref(&renamed));
    assert!(
        only.users
            .iter()
            .all(|user| user.groups == ["on call"] && user.has_memberships)
    );

    let left = identity.remove_user(&ops, &amira).await.unwrap();
    assert!(left.groups.is_empty());
    identity.remove_user(&ops, &amira).await.unwrap();
    let before = identity.head(&home).await;
    identity.delete_group(&ops).await.unwrap();
    let entries = identity.entries_since(&home, before).await;
    let [Change::User(last), Change::GroupDeleted(gone)] = &*entries else {
        panic!("{entries:?}");
    };
    assert_eq!((last.id, *gone), (kim.id, ops.id));
    assert!(last.groups.is_empty() && last.memberships.is_empty() && last.has_memberships);
    assert_eq!(
        identity.delete_group(&ops).await.unwrap_err().code(),
        Code::NotFound
    );

    let user = |name: &str| json!({ "user": name });
    assert_eq!(
        identity.audited_details("group.add_user").await,
        [user("amira@example.com"), user("kim@example.com")]
    );
    assert_eq!(
        identity.audited_details("group.remove_user").await,
        [user("amira@example.com")]
    );
    assert_eq!(
        identity.audited_details("group.update").await,
        [json!({ "before": { "name": "ops@example.com" }, "after": { "name": "on call" } })]
    );
    for action in ["group.create", "group.delete"] {
        let details = identity.audited_details(action).await;
        assert_eq!((details.len(), &details[0]["id"]), (1, &json!(ops.id)));
    }
}

async fn what_is_gone_takes_its_groups_along(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let amira = identity.new_user(home.id, "amira@example.com").await;
    let kim = identity.new_user(home.id, "kim@example.com").await;
    let (amira, kim) = (amira.unwrap(), kim.unwrap());
    identity.set_names(&kim, &["ops"]).await.unwrap();
    identity.create_group(&home, "left over").await.unwrap();
    for user_id in [amira.id, kim.id] {
        let request = DeleteUserRequest {
            tailnet_id: home.id,
            user_id,
        };
        let mut users = UserServiceClient::new(identity.admin());
        users.delete_user(request).await.unwrap();
    }
    let request = DeleteTailnetRequest {
        tailnet_id: home.id,
    };
    let mut tailnets = TailnetServiceClient::new(identity.admin());
    tailnets.delete_tailnet(request).await.unwrap();
    assert!(identity.listed_groups(&home).await.is_empty());
}

async fn names_that_a_policy_can_not_mean_are_refused(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let work = identity.new_tailnet("work").await;
    let ops = identity.create_group(&home, "ops").await.unwrap();
    for name in ["", " ops", "group:ops", "a\nb", &"x".repeat(201)] {
        let refused = identity.create_group(&home, name).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{name}");
        let refused = identity.rename(&ops, name).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{name}");
    }
    let dev = identity.create_group(&home, "dev").await.unwrap();
    let refused = identity.create_group(&home, "ops").await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    let refused = identity.rename(&dev, "ops").await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    // Another tailnet has names, and numbers, of its own.
    identity.create_group(&work, "ops").await.unwrap();
    let foreign = Group {
        tailnet_id: work.id,
        ..dev.clone()
    };
    for refused in [
        identity.rename(&foreign, "mine").await.map(drop),
        identity.delete_group(&foreign).await,
    ] {
        assert_eq!(refused.unwrap_err().code(), Code::NotFound);
    }
    let stranger = identity.new_user(work.id, "noor@example.com").await;
    let refused = identity.add_user(&dev, &stranger.unwrap()).await;
    assert_eq!(refused.unwrap_err().code(), Code::NotFound);
}

async fn users_of_a_release_that_knows_names_alone_are_taken_over(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let amira = identity.new_user(home.id, "amira@example.com").await;
    let kim = identity.new_user(home.id, "kim@example.com").await;
    let (amira, kim) = (amira.unwrap(), kim.unwrap());
    identity.write_as_older_release(&amira, &["ops"]).await;
    identity
        .write_as_older_release(&kim, &["ops", "staff"])
        .await;
    // Before anything has looked at the rows, the names are what they were.
    let before = identity.listed_user(&home, "kim@example.com").await;
    assert_eq!(before.groups, ["ops", "staff"]);

    let manual = GroupSource::Manual;
    let group = |name: &str, members| (name.to_owned(), manual, members);
    let taken_over = [group("ops", 2), group("staff", 1)];
    // Whoever starts does it; a second one finds nothing left to do.
    identity.start_replica().await;
    identity.await_groups(&home, &taken_over).await;
    let head = identity.head(&home).await;
    identity.start_replica().await;
    let after = identity.listed_user(&home, "kim@example.com").await;
    assert_eq!(after.groups, ["ops", "staff"]);
    assert!(after.has_memberships && after.memberships.len() == 2);

    // An older release beside this one takes somebody out of a group and suspends another: what it wrote counts, and what
    // a provider says stays the provider's.
    let ops = after.memberships[0].group_id;
    let ops = Group {
        id: ops,
        tailnet_id: home.id,
        ..Group::default()
    };
    identity.claim(&ops, &amira, 77).await;
    identity.write_as_older_release(&kim, &["staff"]).await;
    let suspended = User {
        suspended: true,
        ..amira.clone()
    };
    identity.write_as_older_release(&suspended, &["ops"]).await;
    identity.start_replica().await;
    identity
        .await_groups(&home, &[group("ops", 1), group("staff", 1)])
        .await;
    identity
        .await_user(&home, "amira@example.com", |user| user.has_memberships)
        .await;
    let amira = identity.listed_user(&home, "amira@example.com").await;
    assert!(amira.suspended);
    let sources: Vec<_> = amira.memberships.iter().map(|one| one.source()).collect();
    assert_eq!(sources, [GroupSource::Manual, GroupSource::Connection]);
    assert!(identity.head(&home).await > head);
    assert_eq!(identity.audited_details("group.create").await.len(), 2);

    // A change by this release takes the names over first.
    identity
        .write_as_older_release(&kim, &["staff", "night"])
        .await;
    let dev = identity.create_group(&home, "dev").await.unwrap();
    let kim = identity.add_user(&dev, &kim).await.unwrap();
    assert_eq!(kim.groups, ["dev", "night", "staff"]);
}

impl TestIdentity {
    async fn await_groups(&self, home: &Tailnet, wanted: &[(String, GroupSource, u32)]) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let listed = self.listed_groups(home).await;
            if listed == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{listed:?}");
        }
    }

    async fn await_user(&self, home: &Tailnet, name: &str, is_right: impl Fn(&User) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let user = self.listed_user(home, name).await;
            if is_right(&user) {
                return;
            }
            assert!(Instant::now() < deadline, "{user:?}");
        }
    }
}

async fn what_a_provider_says_is_not_changed_by_hand(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let kim = identity.new_user(home.id, "kim@example.com").await.unwrap();
    let ops = identity.create_group(&home, "ops").await.unwrap();
    identity.claim(&ops, &kim, 77).await;
    for refused in [
        identity.remove_user(&ops, &kim).await.map(drop),
        identity.delete_group(&ops).await,
        identity.set_names(&kim, &["dev"]).await.map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(refused.message().contains("identity provider"), "{refused}");
    }
    // Beside it an administrator may say the same, and more.
    let both = identity.set_names(&kim, &["dev", "ops"]).await.unwrap();
    assert_eq!(both.groups, ["dev", "ops"]);
    let refused = identity.remove_user(&ops, &kim).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);

    // A group that a provider has made is the provider's to rename.
    let body = Group {
        source: GroupSource::Connection.into(),
        connection_id: 77,
        ..ops.clone()
    };
    let pool = sqlx::AnyPool::connect(&identity.url()).await.unwrap();
    let table = identity.table("user_groups");
    let statement = format!("UPDATE {table} SET body = $1 WHERE name = 'ops'");
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(body.encode_to_vec())
        .execute(&pool)
        .await
        .unwrap();
    let refused = identity.rename(&ops, "operations").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
}

async fn names_that_are_set_become_groups(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let kim = identity.new_user(home.id, "kim@example.com").await.unwrap();
    let set = identity.set_names(&kim, &["b", "a", "a"]).await.unwrap();
    assert_eq!(set.groups, ["a", "b"]);
    let set = identity.set_names(&kim, &["b", "c"]).await.unwrap();
    assert_eq!(set.groups, ["b", "c"]);
    let manual = GroupSource::Manual;
    assert_eq!(
        identity.listed_groups(&home).await,
        [
            ("a".to_owned(), manual, 0),
            ("b".to_owned(), manual, 1),
            ("c".to_owned(), manual, 1)
        ]
    );
    assert_eq!(
        identity.audited_details("user.update").await,
        [
            json!({ "before": { "groups": [] }, "after": { "groups": ["a", "b"] } }),
            json!({ "before": { "groups": ["a", "b"] }, "after": { "groups": ["b", "c"] } }),
        ]
    );
}
