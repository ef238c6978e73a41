//! A person's own page: signed in by a link or a passkey, in a real browser.

use bowline_proto::{
    identity::v1::{
        Connection, CreateConnectionRequest, CreateInvitationRequest, Device, GetLoginRequest,
        Invitation, ListSessionsRequest, LocalProvider, Login, LoginState, Role, StartLoginRequest,
        Tailnet, UpdateTailnetRequest, UpdateUserRequest, User, connection::Provider,
        connection_service_client::ConnectionServiceClient,
        invitation_service_client::InvitationServiceClient,
        login_service_client::LoginServiceClient, session_service_client::SessionServiceClient,
        tailnet_service_client::TailnetServiceClient, user_service_client::UserServiceClient,
    },
    key_registry::v1::{
        ListNodesRequest, NodeWithState, RegisterRequest, node_service_client::NodeServiceClient,
    },
};
use bowline_providers::start_portal;
use bowline_service_kit::ServiceName;
use bowline_test_browser::TestChromium;
use bowline_test_servers::TestDatabase;
use bowline_test_support::TestServices;
use prost_types::FieldMask;

/// Services and a portal, with a browser.
struct Home {
    services: TestServices,
    origin: String,
    browser: TestChromium,
}

impl Home {
    async fn start(host: &str) -> Option<Self> {
        let browser = TestChromium::start()?;
        let services = TestServices::start(TestDatabase::sqlite().unwrap()).await;
        let origin = start_portal(&services, host).await;
        Some(Self {
            services,
            origin,
            browser,
        })
    }

    fn go_to(&self, path: &str) -> u16 {
        self.browser.go_to(&format!("{}{path}", self.origin))
    }

    async fn let_people_have_passkeys(&self) {
        let connection = Connection {
            tailnet_id: self.services.tailnet,
            name: "a passkey".to_owned(),
            provider: Some(Provider::Local(LocalProvider {})),
            ..Connection::default()
        };
        let request = CreateConnectionRequest {
            connection: Some(connection),
            ..CreateConnectionRequest::default()
        };
        let mut client = ConnectionServiceClient::new(self.services.admin());
        client.create_connection(request).await.unwrap();
    }

    /// Makes a link for the user, and returns its path.
    async fn invite(&self) -> String {
        let invitation = Invitation {
            tailnet_id: self.services.tailnet,
            login_name: self.services.user.login_name.clone(),
            ..Invitation::default()
        };
        let request = CreateInvitationRequest {
            invitation: Some(invitation),
            lifetime: None,
        };
        let mut client = InvitationServiceClient::new(self.services.admin());
        let made = client.create_invitation(request).await.unwrap();
        format!("/invitation/{}", made.into_inner().secret)
    }

    async fn sign_in_by_link(&self) {
        let link = self.invite().await;
        assert_eq!(self.go_to(&link), 200);
        self.browser.press_button("Log in");
        self.browser.await_heading("Your devices");
    }

    async fn start_login(&self, number: u8) -> Login {
        let request = StartLoginRequest {
            machine_key: vec![number; 32],
            node_key: vec![number + 100; 32],
            device: Some(Device {
                hostname: format!("laptop-{number}"),
                os: "linux".to_owned(),
                ..Device::default()
            }),
        };
        let registry = self.services.service(ServiceName::KeyRegistry);
        let mut client = LoginServiceClient::new(registry);
        let started = client.start_login(request).await.unwrap();
        started.into_inner().login.unwrap()
    }

    async fn find_login(&self, id: &str) -> Login {
        let request = GetLoginRequest {
            login_id: id.to_owned(),
        };
        let mut client = LoginServiceClient::new(self.services.admin());
        let found = client.get_login(request).await.unwrap();
        found.into_inner().login.unwrap()
    }

    async fn register(&self, hostname: &str, machine: u8) {
        let request = RegisterRequest {
            machine_key: vec![machine; 32],
            node_key: vec![machine + 100; 32],
            pre_auth_key: self.services.new_user_key(false).await,
            hostname: hostname.to_owned(),
            os: "android".to_owned(),
            ..RegisterRequest::default()
        };
        self.services.register_node(request).await;
    }

    async fn set_role(&self, role: Role) {
        let request = UpdateUserRequest {
            user: Some(User {
                role: role.into(),
                ..self.services.user.clone()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["role".to_owned()],
            }),
        };
        let mut client = UserServiceClient::new(self.services.admin());
        client.update_user(request).await.unwrap();
    }

    async fn nodes(&self) -> Vec<NodeWithState> {
        let request = ListNodesRequest {
            tailnet_id: self.services.tailnet,
            ..ListNodesRequest::default()
        };
        let mut client = NodeServiceClient::new(self.services.admin());
        client.list_nodes(request).await.unwrap().into_inner().nodes
    }

    async fn count_sessions(&self) -> usize {
        let request = ListSessionsRequest {
            tailnet_id: self.services.tailnet,
            user_id: 0,
        };
        let mut client = SessionServiceClient::new(self.services.admin());
        let listed = client.list_sessions(request).await.unwrap();
        listed.into_inner().sessions.len()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn person_signs_in_by_a_passkey_and_keeps_devices() {
    let Some(home) = Home::start("localhost").await else {
        return;
    };
    home.let_people_have_passkeys().await;
    home.set_role(Role::ItAdmin).await;
    let browser = &home.browser;
    assert_eq!(home.go_to("/admin"), 200);
    browser.await_heading("Log in to Bowline");
    browser.inspect_page("sign-in");

    link_is_used_once(&home).await;
    passkey_is_added(&home);
    passkey_logs_in_without_a_name(&home).await;
    devices_are_renamed_and_deleted(&home).await;
    signed_in_person_lets_a_device_in(&home).await;
    device_that_waits_is_let_in(&home).await;
    machine_that_waits_is_approved(&home).await;
    passkey_is_removed(&home);
    sign_out_ends_the_session(&home).await;
}

async fn device_that_waits_is_let_in(home: &Home) {
    let browser = &home.browser;
    let (wanted, other) = (home.start_login(60).await, home.start_login(61).await);
    home.go_to("/admin");
    browser.inspect_page("account-with-waiting-login");
    browser.follow_link("laptop-60");
    browser.await_heading("A device wants to join");
    browser.inspect_page("waiting-login");
    let name = "Login name of the person whose device it is";
    browser.fill_field(name, "nobody@example.com");
    browser.press_button("Let it in");
    browser.await_text("Nobody is called so here.");
    browser.fill_field(name, "AMIRA@example.com");
    browser.press_button("Let it in");
    browser.await_heading("Your devices");
    let decided = home.find_login(&wanted.id).await;
    assert_eq!(decided.state(), LoginState::Approved);
    assert_eq!(decided.user_id, home.services.user.id);

    browser.follow_link("laptop-61");
    browser.press_button("Turn it away");
    browser.await_heading("Your devices");
    let decided = home.find_login(&other.id).await;
    assert_eq!(decided.state(), LoginState::Denied);
}

async fn machine_that_waits_is_approved(home: &Home) {
    let request = UpdateTailnetRequest {
        tailnet: Some(Tailnet {
            id: home.services.tailnet,
            machine_approval: true,
            ..Tailnet::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["machine_approval".to_owned()],
        }),
    };
    let mut client = TailnetServiceClient::new(home.services.admin());
    client.update_tailnet(request).await.unwrap();
    home.register("server", 72).await;
    let browser = &home.browser;
    home.go_to("/admin");
    browser.inspect_page("account-with-waiting-machine");
    browser.press_button("Approve: server");
    browser.await_text("not connected");
    let approved = |found: &NodeWithState| found.node.as_ref().unwrap().approved;
    assert!(home.nodes().await.iter().all(approved));

    // Who is no administrator is asked about no machine.
    home.register("printer", 73).await;
    home.set_role(Role::Member).await;
    home.go_to("/admin");
    let text = browser.read_text();
    assert!(
        text.contains("printer") && !text.contains("Approve"),
        "{text}"
    );
    let hidden = home.start_login(62).await;
    assert_eq!(home.go_to(&format!("/admin/logins/{}", hidden.id)), 404);
    home.go_to("/admin");
    browser.follow_link("printer");
    browser.await_heading("printer");
    let text = browser.read_text();
    assert!(!text.contains("Approve"), "{text}");
}

fn passkey_is_removed(home: &Home) {
    home.go_to("/admin");
    home.browser.press_button("Remove: work laptop");
    home.browser.await_heading("Your devices");
    let text = home.browser.read_text();
    assert!(!text.contains("work laptop"), "{text}");
}

async fn link_is_used_once(home: &Home) {
    let link = home.invite().await;
    assert_eq!(home.go_to(&link), 200);
    home.browser.await_heading("You are invited");
    home.browser.inspect_page("invitation");
    home.browser.press_button("Log in");
    home.browser.await_heading("Your devices");
    assert_eq!(home.go_to(&link), 404);
    home.browser.await_heading("This link does not work");
    home.browser.inspect_page("link-used");
}

fn passkey_is_added(home: &Home) {
    let browser = &home.browser;
    home.go_to("/admin");
    browser.add_passkey_device();
    browser.fill_field("Name of the new passkey, such as \"laptop\"", "work laptop");
    browser.set_connected(false);
    browser.press_button("Add a passkey");
    browser.await_text("can not answer at the moment");
    browser.set_connected(true);
    browser.press_button("Add a passkey");
    browser.await_button("Remove: work laptop");
    browser.inspect_page("account-with-passkey");
}

async fn passkey_logs_in_without_a_name(home: &Home) {
    let browser = &home.browser;
    browser.forget_cookies();
    home.go_to("/admin");
    browser.press_button("Log in");
    browser.await_heading("Log in to Bowline");
    browser.inspect_page("choices-for-a-session");
    browser.press_button("Log in with a passkey");
    browser.await_heading("Log in with a passkey");
    browser.inspect_page("passkey");
    browser.press_button("Use a passkey");
    browser.await_heading("Your devices");
    assert!(browser.read_text().contains("amira@example.com"));
    assert_eq!(home.count_sessions().await, 2);
}

async fn devices_are_renamed_and_deleted(home: &Home) {
    let browser = &home.browser;
    home.register("phone", 70).await;
    home.go_to("/admin");
    browser.inspect_page("account");
    browser.follow_link("phone");
    browser.await_heading("phone");
    browser.inspect_page("device");
    browser.fill_field("Name", "Telephone");
    browser.press_button("Rename");
    browser.await_heading("telephone");
    let names: Vec<_> = home.nodes().await.into_iter().map(node_name).collect();
    assert_eq!(names, ["telephone"]);
    browser.press_button("End the key");
    browser.await_text("key ended");
    browser.press_button("Delete the device");
    browser.await_heading("Your devices");
    assert!(home.nodes().await.is_empty());
}

fn node_name(found: NodeWithState) -> String {
    found.node.unwrap().name
}

async fn signed_in_person_lets_a_device_in(home: &Home) {
    let browser = &home.browser;
    program_has_a_code_that_people_type(home);
    let login = home.start_login(50).await;
    home.go_to(&format!("/register/{}", login.id));
    browser.press_button("Continue as amira@example.com");
    browser.await_heading("Is this your device?");
    let before = home.find_login(&login.id).await;
    assert_eq!(
        before.state(),
        LoginState::Pending,
        "nothing is decided yet"
    );
    browser.press_button("Let this device in");
    browser.await_heading("The device is in");
    let decided = home.find_login(&login.id).await;
    assert_eq!(decided.state(), LoginState::Approved);
    assert_eq!(decided.user_id, home.services.user.id);
}

/// A program's code leads to its login, which a session does not decide.
fn program_has_a_code_that_people_type(home: &Home) {
    let begun = std::process::Command::new("curl")
        .args([
            "--silent",
            "--fail",
            "--noproxy",
            "*",
            "--data",
            "client_id=a tool",
        ])
        .arg(format!("{}/oauth/device_authorization", home.origin))
        .output();
    let begun: serde_json::Value = serde_json::from_slice(&begun.unwrap().stdout).unwrap();
    let browser = &home.browser;
    home.go_to("/device");
    browser.inspect_page("code");
    browser.fill_field("Code", "BCDF-GHJK");
    browser.press_button("Continue");
    browser.await_text("There is no program with this code");
    browser.inspect_page("code-unknown");
    browser.fill_field("Code", begun["user_code"].as_str().unwrap());
    browser.press_button("Continue");
    browser.await_text("a tool");
    browser.inspect_page("program-choices");
    let text = browser.read_text();
    assert!(!text.contains("Continue as"), "{text}");
    browser.press_button("Log in with a passkey");
    browser.press_button("Use a passkey");
    browser.await_heading("Is this your program?");
    browser.inspect_page("program-confirm");
    browser.press_button("It is not mine");
    browser.await_heading("The program was turned away");
}

async fn sign_out_ends_the_session(home: &Home) {
    let before = home.count_sessions().await;
    home.go_to("/admin");
    home.browser.press_button("Log out");
    home.browser.await_heading("Log in to Bowline");
    assert_eq!(home.count_sessions().await, before - 1);
    let login = home.start_login(51).await;
    home.go_to(&format!("/register/{}", login.id));
    let text = home.browser.read_text();
    assert!(!text.contains("Continue as"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bare_address_says_why_it_has_no_passkeys() {
    let Some(home) = Home::start("127.0.0.1").await else {
        return;
    };
    home.let_people_have_passkeys().await;
    home.sign_in_by_link().await;
    home.browser.inspect_page("account-without-passkeys");
    let text = home.browser.read_text();
    assert!(
        text.contains("browsers make them only for a host name"),
        "{text}"
    );
    let login = home.start_login(60).await;
    home.go_to(&format!("/register/{}", login.id));
    home.browser.await_button("Continue as amira@example.com");
    assert!(!home.browser.read_text().contains("Log in with a passkey"));
    home.browser.inspect_page("choices-signed-in");
}
