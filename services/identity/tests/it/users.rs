//! Users, and what the audit trail says of them.

use bowline_proto::identity::v1::tailnet_service_client::TailnetServiceClient;
use bowline_proto::identity::v1::user_service_client::UserServiceClient;
use bowline_proto::identity::v1::{
    ListUsersRequest, Role, Tailnet, UpdateTailnetRequest, UpdateUserRequest, User,
};
use bowline_test_servers::on_both;
use prost::Message as _;
use prost_types::FieldMask;
use tonic::Code;

use crate::identity::{TestIdentity, admin, channel};

on_both!(TestIdentity::start =>
    login_names_that_differ_in_case_are_one_and_users_from_before_stay,
    trail_says_what_changed_of_users_and_tailnets,
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
