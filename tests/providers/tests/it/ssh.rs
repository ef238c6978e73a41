//! The pages of a check before an SSH connection, and of whoever is not signed in any more.

use bowline_proto::identity::v1::{
    CheckSshRequest, CreateInvitationRequest, GetLoginRequest, Invitation, Login, LoginState,
    SshConnection, invitation_service_client::InvitationServiceClient,
    login_service_client::LoginServiceClient,
};
use bowline_providers::start_portal;
use bowline_test_browser::TestChromium;
use bowline_test_servers::TestDatabase;
use bowline_test_support::TestServices;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pages_of_a_check_hinder_nobody() {
    let Some(browser) = TestChromium::start() else {
        return;
    };
    let services = TestServices::start(TestDatabase::sqlite().unwrap()).await;
    let origin = start_portal(&services, "127.0.0.1").await;
    let url = |path: &str| format!("{origin}{path}");
    let link = invite(&services).await;
    browser.go_to(&url(&link));
    browser.press_button("Log in");
    browser.await_heading("Your devices");

    for (number, button, heading, state) in [
        (1, "It is me", "You are connected", LoginState::Approved),
        (
            2,
            "It is not me",
            "The connection was refused",
            LoginState::Denied,
        ),
    ] {
        let login = check(&services, number).await;
        browser.go_to(&url(&format!("/register/{}", login.id)));
        browser.await_heading("An SSH connection waits for you");
        if number == 1 {
            browser.inspect_page("ssh-choices");
        }
        browser.press_button("Continue as amira@example.com");
        browser.await_heading("Are you connecting?");
        if number == 1 {
            browser.inspect_page("ssh-confirm");
            let text = browser.read_text();
            assert!(!text.contains("Logged in with"), "by no provider: {text}");
        }
        browser.press_button(button);
        browser.await_heading(heading);
        browser.inspect_page(&format!("ssh-decided-{number}"));
        assert_eq!(find_state(&services, login.id).await, state);
    }

    browser.forget_cookies();
    assert_eq!(browser.go_to(&url("/admin/devices/1")), 401);
    browser.await_heading("Log in again");
    browser.inspect_page("signed-out");
    browser.go_to(&url("/login/callback?state=signed-out"));
    browser.await_heading("You are logged out");
    browser.inspect_page("session-ended");
    browser.follow_link("Log in to Bowline");
    browser.await_button("Log in");
}

async fn invite(services: &TestServices) -> String {
    let invitation = Invitation {
        tailnet_id: services.tailnet,
        login_name: services.user.login_name.clone(),
        ..Invitation::default()
    };
    let request = CreateInvitationRequest {
        invitation: Some(invitation),
        lifetime: None,
    };
    let mut client = InvitationServiceClient::new(services.admin());
    let made = client.create_invitation(request).await.unwrap();
    format!("/invitation/{}", made.into_inner().secret)
}

/// Asks as a gateway does, on behalf of the node that somebody connects to.
async fn check(services: &TestServices, number: u8) -> Login {
    let ssh = SshConnection {
        tailnet_id: services.tailnet,
        source_node_id: 11,
        source_name: "laptop".to_owned(),
        user_id: services.user.id,
        destination_node_id: 12,
        destination_name: "database".to_owned(),
        local_user: "root".to_owned(),
    };
    let request = CheckSshRequest {
        ssh: Some(ssh),
        period_seconds: 0,
        source_machine_key: vec![number; 32],
        source_address: "192.0.2.7".to_owned(),
    };
    let mut client = LoginServiceClient::new(services.gateway());
    let checked = client.check_ssh(request).await.unwrap();
    checked.into_inner().login.unwrap()
}

async fn find_state(services: &TestServices, login_id: String) -> LoginState {
    let mut client = LoginServiceClient::new(services.admin());
    let found = client
        .get_login(GetLoginRequest { login_id })
        .await
        .unwrap();
    found.into_inner().login.unwrap().state()
}
