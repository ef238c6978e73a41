//! People.

use bowline_proto::identity::v1::{Role, SuspensionSource};
use bowline_test_servers::on_both;
use serde_json::json;
use tonic::Code;

use super::*;

on_both!(TestIdentity::start =>
    provisioned_person_is_a_user,
    deactivation_suspends_and_an_administrators_suspension_stays,
    owner_is_neither_deactivated_nor_deleted,
    user_who_was_here_becomes_the_providers_by_the_domain_alone,
    changes_of_another_version_are_refused,
    names_with_a_role_are_not_renamed,
    names_of_another_connections_domain_are_not_taken,
    each_change_is_in_the_audit_trail_with_the_token,
);

async fn provisioned_person_is_a_user(identity: TestIdentity) {
    let provider = TestProvider::start(&identity, "home").await;
    let body = json!({
        "schemas": [USER_SCHEMA, "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],
        "userName": "Amira@home.example.com",
        "externalId": "00u1",
        "name": { "givenName": "Amira", "familyName": "Braun" },
        "emails": [{ "value": "amira@home.example.com", "type": "work", "primary": true }],
        "password": "not kept",
        "unknown": 7,
        "id": "1",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": { "department": "Ships", "manager": "9" },
    });
    let made = provider.create(USER, body.clone()).await.unwrap();
    assert_eq!(made["meta"]["version"], "W/\"1\"");
    assert!(made.get("password").is_none() && made.get("unknown").is_none() && made["id"] != "1");
    let user = provider.user(&made["id"]).await.unwrap();
    assert_eq!(
        (
            &*user.login_name,
            &*user.display_name,
            user.role(),
            user.suspended
        ),
        ("Amira@home.example.com", "Amira Braun", Role::Member, false)
    );
    assert_eq!(provider.get(USER, &made["id"]).await.unwrap(), made);
    assert_reason(provider.create(USER, body).await, "SCIM_UNIQUENESS");

    // One who has no domain has the provider's.
    let kim = provider.create_user("kim").await;
    assert_eq!(kim["userName"], "kim");
    let user = provider.user(&kim["id"]).await.unwrap();
    assert_eq!(user.login_name, "kim@login.example.com");

    // Replaced: what is left out is gone, but for whether the person is active.
    provider
        .patch(USER, &made["id"], deactivate())
        .await
        .unwrap();
    let body = json!({ "schemas": [USER_SCHEMA], "userName": "amira.b@home.example.com", "displayName": "A. B." });
    let replaced = provider.replace(USER, &made["id"], body).await.unwrap();
    assert!(replaced.get("emails").is_none() && replaced["active"] == json!(false));
    let user = provider.user(&made["id"]).await.unwrap();
    assert_eq!(
        (&*user.login_name, &*user.display_name, user.suspended),
        ("amira.b@home.example.com", "A. B.", true)
    );
    let taken = json!([{ "op": "replace", "path": "userName", "value": "KIM" }]);
    assert_reason(
        provider.patch(USER, &made["id"], taken).await,
        "SCIM_UNIQUENESS",
    );
    provider.delete(USER, &made["id"]).await.unwrap();
    assert!(provider.user(&made["id"]).await.is_none());
    assert_refused(
        provider.get(USER, &made["id"]).await,
        Code::NotFound,
        "user",
    );
    assert_refused(
        provider.delete(USER, &made["id"]).await,
        Code::NotFound,
        "user",
    );
}

async fn deactivation_suspends_and_an_administrators_suspension_stays(identity: TestIdentity) {
    let provider = TestProvider::start(&identity, "home").await;
    let made = provider.create_user("amira@home.example.com").await;
    let id = &made["id"];
    provider.patch(USER, id, deactivate()).await.unwrap();
    let user = provider.user(id).await.unwrap();
    assert!(user.suspended);
    assert_eq!(user.suspended_by, [i32::from(SuspensionSource::Scim)]);
    // Who is not active at the provider is not let in by hand.
    let refused = provider.set_suspended(id, false).await;
    assert_refused(refused, Code::FailedPrecondition, "SCIM");

    provider.set_suspended(id, true).await.unwrap();
    provider.patch(USER, id, activate()).await.unwrap();
    let user = provider.user(id).await.unwrap();
    assert!(user.suspended, "an administrator has suspended the user");
    assert_eq!(
        user.suspended_by,
        [i32::from(SuspensionSource::Administrator)]
    );
    provider.set_suspended(id, false).await.unwrap();
    assert!(!provider.user(id).await.unwrap().suspended);
    // What is so already changes nothing.
    let version = provider.get(USER, id).await.unwrap()["meta"]["version"].clone();
    let same = provider.patch(USER, id, activate()).await.unwrap();
    assert_eq!(json!(same.version), version);
}

async fn owner_is_neither_deactivated_nor_deleted(identity: TestIdentity) {
    let provider = TestProvider::start(&identity, "home").await;
    let made = provider.create_user("amira@home.example.com").await;
    let id = &made["id"];
    let mut owner = provider.user(id).await.unwrap();
    owner.set_role(Role::Owner);
    update_user(&identity, owner, "role").await.unwrap();
    let refused = provider.patch(USER, id, deactivate()).await;
    assert_refused(refused, Code::PermissionDenied, "owner");
    let refused = provider.delete(USER, id).await;
    assert_refused(refused, Code::PermissionDenied, "owner");
    assert!(!provider.user(id).await.unwrap().suspended);
}

async fn user_who_was_here_becomes_the_providers_by_the_domain_alone(identity: TestIdentity) {
    let provider = TestProvider::start(&identity, "home").await;
    let here = identity
        .new_user(provider.home.id, "Kim@home.example.com")
        .await
        .unwrap();
    identity
        .new_user(provider.home.id, "noor@elsewhere.example.com")
        .await
        .unwrap();
    assert!(
        provider.find_names("").await.unwrap().is_empty(),
        "nobody is the provider's yet"
    );
    let made = provider.create_user("kim@HOME.example.com").await;
    assert_eq!(made["id"], json!(here.id.to_string()));
    let body = json!({ "schemas": [USER_SCHEMA], "userName": "noor@elsewhere.example.com" });
    assert_reason(provider.create(USER, body).await, "SCIM_UNIQUENESS");
}

async fn changes_of_another_version_are_refused(identity: TestIdentity) {
    let provider = TestProvider::start(&identity, "home").await;
    let made = provider.create_user("amira@home.example.com").await;
    let id = &made["id"];
    let title = |text: &str| json!([{ "op": "add", "path": "title", "value": text }]);
    let changed = provider
        .patch_version(USER, id, title("Mate"), "W/\"1\"")
        .await
        .unwrap();
    assert_eq!(changed.version, "W/\"2\"");
    let refused = provider
        .patch_version(USER, id, title("Boatswain"), "W/\"1\"")
        .await;
    assert_reason(refused, "SCIM_OTHER_VERSION");
    assert_eq!(provider.get(USER, id).await.unwrap()["title"], "Mate");
}

async fn names_with_a_role_are_not_renamed(identity: TestIdentity) {
    let provider = TestProvider::start(&identity, "home").await;
    let made = provider.create_user("amira@home.example.com").await;
    let id = &made["id"];
    let mut admin = provider.user(id).await.unwrap();
    admin.set_role(Role::Admin);
    update_user(&identity, admin, "role").await.unwrap();
    let rename = json!([{ "op": "replace", "path": "userName", "value": "eve@home.example.com" }]);
    let refused = provider.patch(USER, id, rename).await;
    assert_refused(refused, Code::PermissionDenied, "role");
    // Who left is out, whatever the role, and whatever else is said.
    let body = json!({
        "schemas": [USER_SCHEMA],
        "userName": "eve@home.example.com",
        "active": false,
    });
    provider.replace(USER, id, body).await.unwrap();
    let left = provider.user(id).await.unwrap();
    assert!(left.suspended);
    assert_eq!(left.login_name, "amira@home.example.com");
}

async fn names_of_another_connections_domain_are_not_taken(identity: TestIdentity) {
    let provider = TestProvider::start(&identity, "home").await;
    let other = Connection {
        name: "Other".to_owned(),
        domains: vec!["other.example".to_owned()],
        ..Connection::default()
    };
    let other = TestProvider::with_connection(&identity, provider.home.clone(), other).await;
    let body = json!({ "schemas": [USER_SCHEMA], "userName": "ben@other.example" });
    assert_reason(provider.create(USER, body).await, "SCIM_UNIQUENESS");
    let made = provider.create_user("ben@nobodys.example").await;
    let rename = json!([{ "op": "replace", "path": "userName", "value": "ben@other.example" }]);
    let refused = provider.patch(USER, &made["id"], rename).await;
    assert_reason(refused, "SCIM_UNIQUENESS");
    let ben = other.create_user("ben@other.example").await;
    assert_refused(
        provider.get(USER, &ben["id"]).await,
        Code::NotFound,
        "there is no such",
    );
}

async fn each_change_is_in_the_audit_trail_with_the_token(identity: TestIdentity) {
    let provider = TestProvider::start(&identity, "home").await;
    let made = provider.create_user("amira@home.example.com").await;
    let title = json!([{ "op": "add", "path": "title", "value": "Mate" }]);
    provider.patch(USER, &made["id"], title).await.unwrap();
    let group = provider.create_group("crew", &[&made]).await;
    provider.delete(GROUP, &group["id"]).await.unwrap();
    provider.delete(USER, &made["id"]).await.unwrap();
    let pool = sqlx::AnyPool::connect(&identity.url()).await.unwrap();
    let query = format!(
        "SELECT action FROM {} WHERE actor = $1 ORDER BY sequence",
        identity.table("audit")
    );
    let actions: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
        .bind(format!("scim-token:{}", provider.token.id))
        .fetch_all(&pool)
        .await
        .unwrap();
    assert_eq!(
        actions,
        [
            "user.create",
            "user.provision",
            "user.update",
            "group.create",
            "group.add_user",
            "group.provision",
            "group.remove_user",
            "group.delete",
            "group.unprovision",
            "user.delete",
        ]
    );
    let details = identity.audited_details("user.update").await;
    assert_eq!(details[0]["scim_attributes"], json!(["title"]));
}
