//! New people, who wait for an administrator where the tailnet says so.

use bowline_proto::{
    identity::v1::{
        Admission, CreateInvitationRequest, Invitation, ListUsersRequest, Login, LoginState, Role,
        Tailnet, UpdateTailnetRequest, User, invitation_service_client::InvitationServiceClient,
        tailnet_service_client::TailnetServiceClient, user_service_client::UserServiceClient,
    },
    key_registry::v1::{RegisterRequest, register_response::Outcome},
};
use bowline_providers::{KeycloakAdmin, TestBrowser, TestOrganisation};
use bowline_test_browser::TestChromium;
use bowline_test_servers::TestDatabase;
use prost_types::FieldMask;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn new_people_wait_for_an_administrator_where_the_tailnet_says_so() {
    let Some(corp) = TestOrganisation::start(TestDatabase::sqlite().unwrap()).await else {
        return;
    };
    let Some(admin) = TestChromium::start() else {
        return;
    };
    let keycloak = KeycloakAdmin::log_in(corp.keycloak);
    for name in ["wanda", "walt"] {
        keycloak.add_user(name, &format!("{name}@corp.example"));
    }
    require_approval(&corp).await;
    let connection = corp.connect("Corp", &[], Admission::default()).await;
    // Whom an administrator invites needs no approval.
    sign_in_by_link(&corp, &admin, "ida@corp.example", Role::ItAdmin).await;

    let (login, browser) = (corp.start_login(61).await, TestBrowser::open());
    corp.log_in(&browser, &login, &connection, "wanda")
        .assert_shows(403, "You wait for approval");
    let told = corp.find_login(&login.id).await;
    assert_eq!(told.state(), LoginState::Denied);
    let wanda = only_waiting(&corp).await.unwrap();
    assert_eq!(wanda.login_name, "wanda@corp.example");
    assert!(wanda.suspended);
    assert_told(&corp, &login, "wait until an administrator approves you").await;
    let again = corp.start_login(62).await;
    corp.log_in(&browser, &again, &connection, "wanda")
        .assert_shows(403, "You wait for approval");

    admin.go_to(&corp.url("/admin"));
    admin.await_heading("People who wait for approval");
    admin.inspect_page("account-with-waiting-person");
    admin.press_button("Approve: wanda Example (wanda@corp.example)");
    admin.await_heading("Your devices");
    assert!(only_waiting(&corp).await.is_none());
    let login = corp.start_login(63).await;
    let page = corp.log_in(&browser, &login, &connection, "wanda");
    corp.press(&browser, &page, "approve")
        .assert_shows(200, "The device is in");

    // Whoever is turned away is forgotten, and waits again.
    let browser = TestBrowser::open();
    for number in [64, 65] {
        let login = corp.start_login(number).await;
        corp.log_in(&browser, &login, &connection, "walt")
            .assert_shows(403, "You wait for approval");
        admin.go_to(&corp.url("/admin"));
        admin.press_button("Turn away: walt Example (walt@corp.example)");
        admin.await_heading("Your devices");
        assert!(find_user(&corp, "walt@corp.example").await.is_none());
    }

    // Nobody else is shown who waits, or decides.
    let login = corp.start_login(66).await;
    corp.log_in(&browser, &login, &connection, "walt")
        .assert_shows(403, "You wait for approval");
    admin.forget_cookies();
    sign_in_by_link(&corp, &admin, "mia@corp.example", Role::Member).await;
    let text = admin.read_text();
    assert!(!text.contains("walt"), "{text}");
}

async fn require_approval(corp: &TestOrganisation) {
    let request = UpdateTailnetRequest {
        tailnet: Some(Tailnet {
            id: corp.services.tailnet,
            user_approval: true,
            ..Tailnet::default()
        }),
        update_mask: Some(FieldMask {
            paths: vec!["user_approval".to_owned()],
        }),
    };
    let mut client = TailnetServiceClient::new(corp.services.admin());
    client.update_tailnet(request).await.unwrap();
}

async fn sign_in_by_link(
    corp: &TestOrganisation,
    browser: &TestChromium,
    login_name: &str,
    role: Role,
) {
    let invitation = Invitation {
        tailnet_id: corp.services.tailnet,
        login_name: login_name.to_owned(),
        role: role.into(),
        ..Invitation::default()
    };
    let request = CreateInvitationRequest {
        invitation: Some(invitation),
        lifetime: None,
    };
    let mut client = InvitationServiceClient::new(corp.services.admin());
    let made = client.create_invitation(request).await.unwrap();
    let link = format!("/invitation/{}", made.into_inner().secret);
    assert_eq!(browser.go_to(&corp.url(&link)), 200);
    browser.press_button("Log in");
    browser.await_heading("Your devices");
}

async fn only_waiting(corp: &TestOrganisation) -> Option<User> {
    let request = ListUsersRequest {
        tailnet_id: corp.services.tailnet,
        awaits_approval: true,
        ..ListUsersRequest::default()
    };
    let mut users = UserServiceClient::new(corp.services.admin());
    let mut listed = users.list_users(request).await.unwrap().into_inner().users;
    let first = listed.pop();
    assert!(listed.is_empty(), "{listed:?}");
    first
}

async fn find_user(corp: &TestOrganisation, login_name: &str) -> Option<User> {
    let request = ListUsersRequest {
        tailnet_id: corp.services.tailnet,
        ..ListUsersRequest::default()
    };
    let mut users = UserServiceClient::new(corp.services.admin());
    let listed = users.list_users(request).await.unwrap().into_inner().users;
    listed
        .into_iter()
        .find(|user| user.login_name == login_name)
}

/// Asserts what the device says that waits for its login.
async fn assert_told(corp: &TestOrganisation, login: &Login, words: &str) {
    let request = RegisterRequest {
        machine_key: login.machine_key.clone(),
        node_key: login.node_key.clone(),
        login_id: login.id.clone(),
        ..RegisterRequest::default()
    };
    let told = corp.services.register(request).await;
    assert!(
        matches!(&told, Outcome::Refused(refused) if refused.text.contains(words)),
        "{told:?}"
    );
}
