//! Groups.

use bowline_proto::changes::v1::ChangesSinceRequest;
use bowline_proto::identity::v1::group_service_client::GroupServiceClient;
use bowline_proto::identity::v1::identity_service_client::IdentityServiceClient;
use bowline_proto::identity::v1::{
    CreateGroupRequest, DeleteGroupRequest, Group, GroupSource, ListGroupsRequest,
    RemoveGroupMemberRequest, Role, UpdateGroupRequest,
};
use bowline_test_servers::on_both;
use serde_json::json;
use tonic::Code;

use super::*;

on_both!(TestIdentity::start =>
    members_come_and_go_as_providers_say,
    administrators_leave_to_the_provider_what_is_the_providers,
    group_that_was_here_is_joined,
    one_member_more_is_one_change_however_many_there_are,
    groups_give_roles_as_the_connection_says,
    groups_are_found_by_name_and_by_member,
);

impl TestProvider<'_> {
    fn groups(&self) -> GroupServiceClient<GrpcChannel> {
        GroupServiceClient::new(self.identity.admin())
    }

    async fn listed_groups(&self) -> Vec<(Group, u32)> {
        let request = ListGroupsRequest {
            tailnet_id: self.home.id,
        };
        let listed = self.groups().list_groups(request).await.unwrap();
        let listed = listed.into_inner().groups.into_iter();
        listed
            .map(|one| (one.group.unwrap(), one.members))
            .collect()
    }

    async fn groups_of(&self, user: &Value) -> Vec<String> {
        self.user(&user["id"]).await.unwrap().groups
    }

    async fn head(&self) -> u64 {
        let request = ChangesSinceRequest {
            tailnet_id: self.home.id,
            ..ChangesSinceRequest::default()
        };
        let caller = Caller::Service(ServiceName::NetmapGateway);
        let mut log = IdentityServiceClient::new(channel(self.identity.identity(), caller));
        log.changes_since(request).await.unwrap().into_inner().head
    }
}

async fn members_come_and_go_as_providers_say(identity: TestIdentity) {
    let provider = TestProvider::start(&identity, "home").await;
    let mut crew = Vec::new();
    for name in ["amira", "kim", "noor"] {
        crew.push(
            provider
                .create_user(&format!("{name}@home.example.com"))
                .await,
        );
    }
    let [amira, kim, noor] = &crew[..] else {
        panic!("three people");
    };
    let group = provider.create_group("crew", &[amira]).await;
    let id = &group["id"];
    assert_eq!(provider.groups_of(amira).await, ["crew"]);
    let (listed, members) = provider.listed_groups().await.remove(0);
    assert_eq!((listed.source(), members), (GroupSource::Scim, 1));

    let patch = async |operations: Value| provider.patch(GROUP, id, operations).await;
    patch(json!([{ "op": "Add", "path": "members", "value": [{ "value": kim["id"] }, { "value": noor["id"] }] }]))
        .await
        .unwrap();
    assert_eq!(provider.groups_of(noor).await, ["crew"]);
    let path = format!("members[value eq {}]", kim["id"]);
    patch(json!([{ "op": "remove", "path": path }]))
        .await
        .unwrap();
    assert!(provider.groups_of(kim).await.is_empty());
    patch(json!([{ "op": "Remove", "path": "members", "value": [{ "value": noor["id"] }] }]))
        .await
        .unwrap();
    assert!(provider.groups_of(noor).await.is_empty());
    let version = patch(json!([{ "op": "replace", "value": { "members": [{ "value": kim["id"] }], "displayName": "deck" } }]))
        .await
        .unwrap()
        .version;
    assert_eq!(provider.groups_of(kim).await, ["deck"]);
    assert!(provider.groups_of(amira).await.is_empty());
    // What is so already changes nothing.
    let same = patch(json!([{ "op": "add", "path": "members", "value": { "value": kim["id"] } }]))
        .await
        .unwrap();
    assert_eq!(same.version, version);
    let shown = provider.get(GROUP, id).await.unwrap();
    assert_eq!(shown["members"][0]["value"], kim["id"]);
    assert_eq!(
        provider.get(USER, &kim["id"]).await.unwrap()["groups"][0]["display"],
        "deck"
    );

    for operations in [
        json!([{ "op": "add", "path": "members", "value": [{ "value": "77777" }] }]),
        json!([{ "op": "add", "path": "members", "value": [{ "value": id, "type": "Group" }] }]),
        json!([{ "op": "add", "path": "members", "value": [{ "display": "kim" }] }]),
    ] {
        assert_reason(patch(operations).await, "SCIM_INVALID_VALUE");
    }
    // Somebody who is gone is in no group.
    provider.delete(USER, &kim["id"]).await.unwrap();
    let shown = provider.get(GROUP, id).await.unwrap();
    assert!(shown.get("members").is_none() && shown["meta"]["version"] != json!(version));
    patch(json!([{ "op": "add", "path": "members", "value": [{ "value": noor["id"] }] }]))
        .await
        .unwrap();
    provider.delete(GROUP, id).await.unwrap();
    assert!(provider.groups_of(noor).await.is_empty() && provider.listed_groups().await.is_empty());
}

async fn administrators_leave_to_the_provider_what_is_the_providers(identity: TestIdentity) {
    let provider = TestProvider::start(&identity, "home").await;
    let amira = provider.create_user("amira@home.example.com").await;
    provider.create_group("crew", &[&amira]).await;
    let empty = provider.create_group("empty", &[]).await;
    let (group, _) = provider.listed_groups().await.remove(0);
    let request = UpdateGroupRequest {
        group: Some(Group {
            name: "deck".to_owned(),
            ..group.clone()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["name".to_owned()],
        }),
    };
    let refused = provider.groups().update_group(request).await;
    assert_refused(refused, Code::FailedPrecondition, "SCIM");
    let request = RemoveGroupMemberRequest {
        tailnet_id: provider.home.id,
        group_id: group.id,
        user_id: amira["id"].as_str().unwrap().parse().unwrap(),
    };
    let refused = provider.groups().remove_group_member(request).await;
    assert_refused(refused, Code::FailedPrecondition, "SCIM");
    for group_id in [group.id, empty["id"].as_str().unwrap().parse().unwrap()] {
        let request = DeleteGroupRequest {
            tailnet_id: provider.home.id,
            group_id,
        };
        let refused = provider.groups().delete_group(request).await;
        assert_refused(refused, Code::FailedPrecondition, "SCIM");
    }
}

async fn group_that_was_here_is_joined(identity: TestIdentity) {
    let provider = TestProvider::start(&identity, "home").await;
    let amira = provider.create_user("amira@home.example.com").await;
    let request = CreateGroupRequest {
        tailnet_id: provider.home.id,
        name: "crew".to_owned(),
    };
    let manual = provider.groups().create_group(request).await.unwrap();
    let manual = manual.into_inner().group.unwrap();
    let joined = provider.create_group("crew", &[&amira]).await;
    assert_eq!(joined["id"], json!(manual.id.to_string()));
    let rename = json!([{ "op": "replace", "path": "displayName", "value": "deck" }]);
    assert_reason(
        provider.patch(GROUP, &joined["id"], rename).await,
        "SCIM_MUTABILITY",
    );
    provider.delete(GROUP, &joined["id"]).await.unwrap();
    let left = provider.listed_groups().await;
    assert_eq!(
        (left.len(), left[0].1, left[0].0.source()),
        (1, 0, GroupSource::Manual)
    );
    let body = json!({ "schemas": [GROUP_SCHEMA], "displayName": " crew " });
    assert_reason(provider.create(GROUP, body).await, "SCIM_INVALID_VALUE");
}

async fn one_member_more_is_one_change_however_many_there_are(identity: TestIdentity) {
    let provider = TestProvider::start(&identity, "home").await;
    let mut crew = Vec::new();
    for number in 0..40 {
        crew.push(
            provider
                .create_user(&format!("{number}@home.example.com"))
                .await,
        );
    }
    let (newcomer, first) = crew.split_last().unwrap();
    let group = provider
        .create_group("crew", &first.iter().collect::<Vec<_>>())
        .await;
    let before = provider.head().await;
    let add = json!([{ "op": "add", "path": "members", "value": [{ "value": newcomer["id"] }] }]);
    let answer = provider.patch(GROUP, &group["id"], add).await.unwrap();
    assert_eq!(provider.head().await - before, 1, "one entry of the log");
    assert!(
        answer.body.is_empty(),
        "the others are not read for an answer"
    );
}

async fn groups_give_roles_as_the_connection_says(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let connection = by_role_group("netops", Role::NetworkAdmin);
    let provider = TestProvider::with_connection(&identity, home, connection).await;
    let amira = provider.create_user("amira@home.example.com").await;
    let chief = provider.create_user("chief@home.example.com").await;
    let mut admin = provider.user(&chief["id"]).await.unwrap();
    admin.set_role(Role::Admin);
    update_user(&identity, admin, "role").await.unwrap();
    let role = async |user: &Value| provider.user(&user["id"]).await.unwrap().role();
    let group = provider.create_group("netops", &[&amira, &chief]).await;
    assert_eq!(
        (role(&amira).await, role(&chief).await),
        (Role::NetworkAdmin, Role::Admin)
    );
    let rename = |name: &str| json!([{ "op": "replace", "path": "displayName", "value": name }]);
    provider
        .patch(GROUP, &group["id"], rename("crew"))
        .await
        .unwrap();
    assert_eq!(role(&amira).await, Role::Member);
    provider
        .patch(GROUP, &group["id"], rename("netops"))
        .await
        .unwrap();
    assert_eq!(role(&amira).await, Role::NetworkAdmin);
    provider.delete(GROUP, &group["id"]).await.unwrap();
    assert_eq!(
        (role(&amira).await, role(&chief).await),
        (Role::Member, Role::Admin)
    );
}

async fn groups_are_found_by_name_and_by_member(identity: TestIdentity) {
    let provider = TestProvider::start(&identity, "home").await;
    let amira = provider.create_user("amira@home.example.com").await;
    let crew = provider.create_group("crew", &[&amira]).await;
    let galley = provider.create_group("Galley", &[]).await;
    let find = async |filter: String| {
        let search = ListScimResourcesRequest {
            filter,
            ..ListScimResourcesRequest::default()
        };
        let (_, found) = provider.list(GROUP, search).await.unwrap();
        found
            .into_iter()
            .map(|one| one["id"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        find("displayName eq \"galley\"".to_owned()).await,
        [galley["id"].clone()]
    );
    let id = &amira["id"];
    assert_eq!(
        find(format!("members.value eq {id}")).await,
        [crew["id"].clone()]
    );
    assert_eq!(
        find(format!("members eq {id} and displayName eq \"crew\"")).await,
        [crew["id"].clone()]
    );
    assert_eq!(
        find(format!("members[value eq {id}]")).await,
        [crew["id"].clone()]
    );
    assert!(
        find(format!("id eq {} and members eq {id}", galley["id"]))
            .await
            .is_empty()
    );
}
