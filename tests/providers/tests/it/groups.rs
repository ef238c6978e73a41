//! A person's groups at the provider decide what the policy lets the person's devices reach.

use std::{collections::BTreeSet, time::Duration};

use bowline_proto::{
    identity::v1::{
        Admission, Connection, DeleteConnectionRequest, GroupSource, ListUsersRequest, Role,
        RoleGroup, UpdateConnectionRequest, User,
        connection_service_client::ConnectionServiceClient, user_service_client::UserServiceClient,
    },
    key_registry::v1::{Node, PreAuthKey, RegisterRequest},
    policy::v1::{
        CompiledUpdate, WatchCompiledRequest,
        policy_compiler_service_client::PolicyCompilerServiceClient,
    },
};
use bowline_providers::{KeycloakAdmin, TestBrowser, TestOrganisation};
use bowline_test_servers::TestDatabase;
use prost_types::FieldMask;
use tonic::Streaming;

const DEADLINE: Duration = Duration::from_secs(20);

const POLICY: &str = r#"{"tagOwners": {"tag:db": []},
    "acls": [{"action": "accept", "src": ["group:vpn"], "dst": ["tag:db:22"]}]}"#;

/// A person at the provider, with a device and a database that a policy guards.
struct TestPerson {
    corp: TestOrganisation,
    keycloak: KeycloakAdmin,
    connection: Connection,
    logins: u8,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn groups_of_the_provider_open_and_close_what_the_policy_says() {
    let Some(corp) = TestOrganisation::start(TestDatabase::sqlite().unwrap()).await else {
        return;
    };
    let keycloak = KeycloakAdmin::log_in(corp.keycloak);
    for group in ["vpn", "netops"] {
        keycloak.add_group(group);
    }
    keycloak.add_user("noor", "noor@corp.example");
    keycloak.join("noor", "vpn");
    let connection = corp
        .connect("Groups", &["corp.example"], Admission::default())
        .await;
    let mut test = TestPerson {
        corp,
        keycloak,
        connection,
        logins: 100,
    };
    test.let_group_give_role("netops", Role::NetworkAdmin).await;

    test.log_in(200).await;
    let noor = test.user().await;
    assert_eq!(
        (&*noor.groups, noor.role()),
        (&["vpn".to_owned()][..], Role::Member)
    );
    assert_eq!(noor.memberships[0].source(), GroupSource::Connection);
    assert_eq!(noor.memberships[0].connection_id, test.connection.id);
    let laptop = test.register(1, &noor).await;
    test.set_policy().await;
    test.register_database().await;
    let mut filter = test.watch().await;
    filter.await_source(&laptop, true).await;

    // In no group at all: the provider leaves the claim out.
    test.keycloak.leave("noor", "vpn");
    test.log_in(200).await;
    filter.await_source(&laptop, false).await;
    assert!(test.user().await.groups.is_empty());
    test.keycloak.join("noor", "vpn");
    test.log_in(200).await;
    filter.await_source(&laptop, true).await;

    // Another group at the provider: the next login closes what the first opened, and gives the role.
    test.keycloak.leave("noor", "vpn");
    test.keycloak.join("noor", "netops");
    test.log_in(200).await;
    filter.await_source(&laptop, false).await;
    let noor = test.user().await;
    assert_eq!(
        (&*noor.groups, noor.role()),
        (&["netops".to_owned()][..], Role::NetworkAdmin)
    );

    // Back, and out again by a login that is refused because of it.
    test.keycloak.leave("noor", "netops");
    test.keycloak.join("noor", "vpn");
    test.log_in(200).await;
    filter.await_source(&laptop, true).await;
    assert_eq!(test.user().await.role(), Role::Member);
    test.admit_group("vpn").await;
    test.keycloak.leave("noor", "vpn");
    test.keycloak.join("noor", "netops");
    test.log_in(403).await;
    filter.await_source(&laptop, false).await;
    assert_eq!(test.user().await.groups, ["netops"]);

    // What the connection said ends with it.
    test.delete_connection().await;
    let noor = test.user().await;
    assert!(noor.groups.is_empty() && noor.memberships.is_empty());
    assert_eq!(noor.role(), Role::Member);
}

impl TestPerson {
    /// Logs in by a browser that nobody knows, for another device, up to a page with this status.
    async fn log_in(&mut self, status: u16) {
        self.logins += 1;
        let login = self.corp.start_login(self.logins).await;
        let browser = TestBrowser::open();
        let page = self.corp.log_in(&browser, &login, &self.connection, "noor");
        assert_eq!(page.status, status, "{}", page.body);
    }

    async fn user(&self) -> User {
        let request = ListUsersRequest {
            tailnet_id: self.corp.services.tailnet,
            ..ListUsersRequest::default()
        };
        let mut users = UserServiceClient::new(self.corp.services.admin());
        let listed = users.list_users(request).await.unwrap().into_inner().users;
        let mut listed = listed.into_iter();
        let is_noor = |user: &User| user.login_name == "noor@corp.example";
        listed.find(is_noor).unwrap()
    }

    async fn update_connection(&self, wanted: Connection, path: &str) {
        let request = UpdateConnectionRequest {
            connection: Some(wanted),
            update_mask: Some(FieldMask {
                paths: vec![path.to_owned()],
            }),
            ..UpdateConnectionRequest::default()
        };
        let mut client = ConnectionServiceClient::new(self.corp.services.admin());
        client.update_connection(request).await.unwrap();
    }

    async fn let_group_give_role(&self, group: &str, role: Role) {
        let wanted = |role: Role| Connection {
            role_groups: vec![RoleGroup {
                group: group.to_owned(),
                role: role.into(),
            }],
            ..self.connection.clone()
        };
        self.update_connection(wanted(role), "role_groups").await;
        let request = UpdateConnectionRequest {
            connection: Some(wanted(Role::Owner)),
            update_mask: Some(FieldMask {
                paths: vec!["role_groups".to_owned()],
            }),
            ..UpdateConnectionRequest::default()
        };
        let mut client = ConnectionServiceClient::new(self.corp.services.admin());
        let refused = client.update_connection(request).await.unwrap_err();
        assert!(refused.message().contains("nobody an owner"), "{refused}");
    }

    async fn admit_group(&self, group: &str) {
        let wanted = Connection {
            admission: Some(Admission {
                groups: vec![group.to_owned()],
                ..Admission::default()
            }),
            ..self.connection.clone()
        };
        self.update_connection(wanted, "admission").await;
    }

    async fn delete_connection(&self) {
        let request = DeleteConnectionRequest {
            tailnet_id: self.corp.services.tailnet,
            connection_id: self.connection.id,
        };
        let mut client = ConnectionServiceClient::new(self.corp.services.admin());
        client.delete_connection(request).await.unwrap();
    }

    async fn register(&self, number: u8, user: &User) -> Node {
        let key = PreAuthKey {
            user_id: user.id,
            ..PreAuthKey::default()
        };
        let key = self.corp.services.new_key(key).await;
        self.register_with(number, key).await
    }

    async fn register_database(&self) -> Node {
        let key = self.corp.services.new_tag_key("tag:db").await;
        self.register_with(2, key).await
    }

    async fn register_with(&self, number: u8, pre_auth_key: String) -> Node {
        let request = RegisterRequest {
            machine_key: vec![number; 32],
            node_key: vec![200 + number; 32],
            hostname: format!("n{number}"),
            pre_auth_key,
            ..RegisterRequest::default()
        };
        self.corp.services.register_node(request).await
    }

    /// Sets the policy, as soon as the compiler has heard of the group.
    async fn set_policy(&self) {
        let request = bowline_proto::policy::v1::SetPolicyRequest {
            tailnet_id: self.corp.services.tailnet,
            text: POLICY.to_owned(),
            ..Default::default()
        };
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let mut policies = self.corp.services.policies();
            let answer = policies.set_policy(request.clone()).await.unwrap();
            if answer.into_inner().version.is_some() {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "no group");
        }
    }

    async fn watch(&self) -> WatchedFilter {
        let request = WatchCompiledRequest {
            tailnet_id: self.corp.services.tailnet,
        };
        let mut client = PolicyCompilerServiceClient::new(self.corp.services.gateway());
        let updates = client.watch_compiled(request).await.unwrap().into_inner();
        WatchedFilter {
            updates,
            sources: BTreeSet::new(),
        }
    }
}

/// The addresses that some filter lets through, as gateways are told them.
struct WatchedFilter {
    updates: Streaming<CompiledUpdate>,
    sources: BTreeSet<String>,
}

impl WatchedFilter {
    /// Waits until a node may send to the database, or may do so no more.
    async fn await_source(&mut self, node: &Node, is_allowed: bool) {
        let has_address = |source: &String| source.split('/').next() == Some(&*node.ipv4);
        while self.sources.iter().any(has_address) != is_allowed {
            let update = tokio::time::timeout(DEADLINE, self.updates.message()).await;
            let update = update
                .expect("the filter changes in time")
                .unwrap()
                .unwrap();
            for list in update.source_lists {
                for gone in &list.removed {
                    self.sources.remove(gone);
                }
                self.sources.extend(list.added);
            }
        }
    }
}
