//! Users, and what the audit trail says of them.

use bowline_proto::identity::v1::tailnet_service_client::TailnetServiceClient;
use bowline_proto::identity::v1::user_service_client::UserServiceClient;
use bowline_proto::identity::v1::{
    CreateUserRequest, DeleteTailnetRequest, DeleteUserRequest, ListUsersRequest, Role, Tailnet,
    TransferOwnershipRequest, UpdateTailnetRequest, UpdateUserRequest, User,
};
use bowline_test_servers::on_both;
use prost::Message as _;
use prost_types::FieldMask;
use tonic::Code;

use crate::identity::{TestIdentity, admin, channel};

on_both!(TestIdentity::start =>
    login_names_that_differ_in_case_are_one_and_users_from_before_stay,
    trail_says_what_changed_of_users_and_tailnets,
    owner_is_one_and_stays,
    ownership_is_transferred_and_the_last_user_can_go,
    tailnets_from_before_keep_several_owners_or_none_until_a_transfer,
);

async fn login_names_that_differ_in_case_are_one_and_users_from_before_stay(
    identity: TestIdentity,
) {
    let home = identity.new_tailnet("home").await;
    let first = identity
        .new_user(home.id, "Ämira@Example.com")
        .await
        .unwrap();
    assert_eq!(first.login_name, "Ämira@Example.com");
    let refused = identity
        .new_user(home.id, "äMIRA@example.COM")
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert!(refused.message().contains("Ämira@Example.com"), "{refused}");
    let work = identity.new_tailnet("work").await;
    identity
        .new_user(work.id, "ämira@example.com")
        .await
        .unwrap();

    // Two users as an older release let them in: both are there, and neither name is given a third time.
    let query = format!(
        "INSERT INTO {} (id, tailnet_id, login_name, body) VALUES ($1, $2, $3, $4)",
        identity.table("users")
    );
    let pool = sqlx::AnyPool::connect(&identity.url()).await.unwrap();
    for (id, login_name) in [(9001, "Noor@example.com"), (9002, "noor@example.com")] {
        let user = User {
            id,
            tailnet_id: home.id,
            login_name: login_name.to_owned(),
            role: Role::Member.into(),
            ..User::default()
        };
        sqlx::query(sqlx::AssertSqlSafe(query.clone()))
            .bind(id.cast_signed())
            .bind(home.id.cast_signed())
            .bind(login_name)
            .bind(user.encode_to_vec())
            .execute(&pool)
            .await
            .unwrap();
    }
    for _ in 0..2 {
        let refused = identity
            .new_user(home.id, "NOOR@example.com")
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::AlreadyExists);
        let again = identity.start_replica().await;
        let mut users = UserServiceClient::new(channel(&again, admin()));
        let request = ListUsersRequest {
            tailnet_id: home.id,
            ..ListUsersRequest::default()
        };
        let listed = users.list_users(request).await.unwrap().into_inner().users;
        assert_eq!(listed.len(), 3);
        let update = UpdateUserRequest {
            user: Some(User {
                suspended: true,
                ..listed.into_iter().find(|user| user.id == 9002).unwrap()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["suspended".to_owned()],
            }),
        };
        users.update_user(update).await.unwrap();
    }
}

async fn trail_says_what_changed_of_users_and_tailnets(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let user = identity
        .new_user(home.id, "amira@example.com")
        .await
        .unwrap();
    let update_mask = |path: &str| {
        Some(FieldMask {
            paths: vec![path.to_owned()],
        })
    };
    let request = UpdateUserRequest {
        user: Some(User {
            role: Role::ItAdmin.into(),
            ..user
        }),
        update_mask: update_mask("role"),
    };
    let mut users = UserServiceClient::new(identity.admin());
    users.update_user(request).await.unwrap();
    let request = UpdateTailnetRequest {
        tailnet: Some(Tailnet {
            require_key_proof: true,
            ..home
        }),
        update_mask: update_mask("require_key_proof"),
    };
    let mut tailnets = TailnetServiceClient::new(identity.admin());
    tailnets.update_tailnet(request).await.unwrap();
    assert_eq!(
        identity.audited_details("user.update").await,
        [serde_json::json!({ "before": { "role": "member" }, "after": { "role": "it-admin" } })]
    );
    assert_eq!(
        identity.audited_details("tailnet.update").await,
        [serde_json::json!({
            "before": { "require_key_proof": false },
            "after": { "require_key_proof": true },
        })]
    );
}

/// Makes an owner and a member.
async fn new_owner_and_member(identity: &TestIdentity, tailnet_id: u64) -> (User, User) {
    let mut made = Vec::new();
    for (name, role) in [
        ("amira@example.com", Role::Owner),
        ("kim@example.com", Role::Member),
    ] {
        let request = create_request(tailnet_id, name, role);
        let mut users = UserServiceClient::new(identity.admin());
        let answer = users.create_user(request).await.unwrap();
        made.push(answer.into_inner().user.unwrap());
    }
    (made[0].clone(), made[1].clone())
}

fn create_request(tailnet_id: u64, login_name: &str, role: Role) -> CreateUserRequest {
    CreateUserRequest {
        tailnet_id,
        login_name: login_name.to_owned(),
        role: role.into(),
        ..CreateUserRequest::default()
    }
}

fn update(user: User, path: &str) -> UpdateUserRequest {
    UpdateUserRequest {
        user: Some(user),
        update_mask: Some(FieldMask {
            paths: vec![path.to_owned()],
        }),
    }
}

fn suspended(user: &User) -> User {
    User {
        suspended: true,
        ..user.clone()
    }
}

async fn owner_is_one_and_stays(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let (amira, kim) = new_owner_and_member(&identity, home.id).await;
    let mut users = UserServiceClient::new(identity.admin());
    let second = create_request(home.id, "sam@example.com", Role::Owner);
    let second = users.create_user(second).await;
    let with_role = |user: &User, role: Role| User {
        role: role.into(),
        ..user.clone()
    };
    let delete = DeleteUserRequest {
        tailnet_id: home.id,
        user_id: amira.id,
    };
    for refused in [
        second.map(drop),
        users.delete_user(delete).await.map(drop),
        users
            .update_user(update(suspended(&amira), "suspended"))
            .await
            .map(drop),
        users
            .update_user(update(with_role(&amira, Role::Admin), "role"))
            .await
            .map(drop),
        users
            .update_user(update(with_role(&kim, Role::Owner), "role"))
            .await
            .map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert!(
            refused.message().contains("transfer the ownership"),
            "{refused}"
        );
    }
}

async fn ownership_is_transferred_and_the_last_user_can_go(identity: TestIdentity) {
    let home = identity.new_tailnet("home").await;
    let (amira, kim) = new_owner_and_member(&identity, home.id).await;
    let mut users = UserServiceClient::new(identity.admin());
    let delete = DeleteUserRequest {
        tailnet_id: home.id,
        user_id: amira.id,
    };
    let transfer = TransferOwnershipRequest {
        tailnet_id: home.id,
        user_id: kim.id,
    };
    users
        .update_user(update(suspended(&kim), "suspended"))
        .await
        .unwrap();
    let refused = users.transfer_ownership(transfer).await.unwrap_err();
    assert!(refused.message().contains("suspended"), "{refused}");
    users
        .update_user(update(kim.clone(), "suspended"))
        .await
        .unwrap();
    for _ in 0..2 {
        let answer = users.transfer_ownership(transfer).await.unwrap();
        assert_eq!(answer.into_inner().user.unwrap().role(), Role::Owner);
    }
    let roles = list_roles(&identity, home.id).await;
    assert_eq!(roles, [Role::Admin, Role::Owner]);
    assert_eq!(
        identity.audited_details("user.transfer_ownership").await,
        [serde_json::json!({ "from": ["amira@example.com"] })]
    );
    users.delete_user(delete).await.unwrap();

    // Who is alone goes last, and then the tailnet.
    let last = DeleteUserRequest {
        tailnet_id: home.id,
        user_id: kim.id,
    };
    users.delete_user(last).await.unwrap();
    let request = DeleteTailnetRequest {
        tailnet_id: home.id,
    };
    let mut tailnets = TailnetServiceClient::new(identity.admin());
    tailnets.delete_tailnet(request).await.unwrap();
}

async fn tailnets_from_before_keep_several_owners_or_none_until_a_transfer(identity: TestIdentity) {
    let (several, none) = (
        identity.new_tailnet("several").await,
        identity.new_tailnet("none").await,
    );
    let owner = |id: u64, name: &str| (several.id, id, format!("{name}@example.com"), Role::Owner);
    let (one, other, third) = (
        owner(9001, "amira"),
        owner(9002, "ben"),
        owner(9003, "cleo"),
    );
    let member = (none.id, 9004, "dana@example.com".to_owned(), Role::Member);
    let query = format!(
        "INSERT INTO {} (id, tailnet_id, login_name, body) VALUES ($1, $2, $3, $4)",
        identity.table("users")
    );
    let pool = sqlx::AnyPool::connect(&identity.url()).await.unwrap();
    for (tailnet_id, id, login_name, role) in [one, other, third, member] {
        let user = User {
            id,
            tailnet_id,
            login_name: login_name.clone(),
            role: role.into(),
            ..User::default()
        };
        sqlx::query(sqlx::AssertSqlSafe(query.clone()))
            .bind(id.cast_signed())
            .bind(tailnet_id.cast_signed())
            .bind(login_name)
            .bind(user.encode_to_vec())
            .execute(&pool)
            .await
            .unwrap();
    }
    let mut users = UserServiceClient::new(identity.admin());
    let user = |tailnet_id: u64, id: u64| User {
        id,
        tailnet_id,
        role: Role::Admin.into(),
        suspended: true,
        ..User::default()
    };
    // None of them ends, and each but the last may have another role.
    let refused = users
        .update_user(update(user(several.id, 9001), "suspended"))
        .await
        .unwrap_err();
    assert!(refused.message().contains("transfer"), "{refused}");
    users
        .update_user(update(user(several.id, 9001), "role"))
        .await
        .unwrap();
    let transfer = |tailnet_id: u64, user_id: u64| TransferOwnershipRequest {
        tailnet_id,
        user_id,
    };
    users
        .transfer_ownership(transfer(several.id, 9002))
        .await
        .unwrap();
    assert_eq!(
        list_roles(&identity, several.id).await,
        [Role::Admin, Role::Owner, Role::Admin]
    );
    users
        .transfer_ownership(transfer(none.id, 9004))
        .await
        .unwrap();
    assert_eq!(list_roles(&identity, none.id).await, [Role::Owner]);
    let elsewhere = users.transfer_ownership(transfer(none.id, 9001)).await;
    assert_eq!(elsewhere.unwrap_err().code(), Code::NotFound);
}

async fn list_roles(identity: &TestIdentity, tailnet_id: u64) -> Vec<Role> {
    let request = ListUsersRequest {
        tailnet_id,
        ..ListUsersRequest::default()
    };
    let mut users = UserServiceClient::new(identity.admin());
    let listed = users.list_users(request).await.unwrap().into_inner().users;
    listed.iter().map(User::role).collect()
}
