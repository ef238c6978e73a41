//! What people see: the pages in a real browser, at two widths, light and dark.

use bowline_proto::identity::v1::{Admission, LoginState};
use bowline_providers::TestOrganisation;
use bowline_test_browser::TestChromium;
use bowline_test_servers::TestDatabase;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pages_of_a_login_hinder_nobody() {
    let Some(corp) = TestOrganisation::start(TestDatabase::sqlite().unwrap()).await else {
        return;
    };
    let Some(browser) = TestChromium::start() else {
        return;
    };
    device_that_waits_for_an_administrator_says_how(&corp, &browser).await;
    let admission = Admission {
        domains: vec!["corp.example".to_owned()],
        ..Admission::default()
    };
    corp.connect("Corp", &["corp.example"], admission).await;
    person_with_a_browser_lets_the_device_in(&corp, &browser).await;
    person_without_scripts_turns_the_device_away(&corp, &browser).await;
    person_without_a_mouse_finds_the_buttons(&corp, &browser).await;
    whoever_is_refused_is_told_why(&corp, &browser).await;
}

fn open_auth_url(corp: &TestOrganisation, browser: &TestChromium, login_id: &str) {
    let status = browser.go_to(&corp.url(&format!("/register/{login_id}")));
    assert_eq!(status, 200);
    browser.await_heading("A device wants to join");
}

/// Fills in the provider's own page.
fn prove_person(browser: &TestChromium, person: &str) {
    browser.press_button("Log in with Corp");
    browser.fill_field("Username or email", person);
    browser.fill_field("Password", "password");
    browser.press_button("Sign In");
}

async fn device_that_waits_for_an_administrator_says_how(
    corp: &TestOrganisation,
    browser: &TestChromium,
) {
    let login = corp.start_login(41).await;
    open_auth_url(corp, browser, &login.id);
    assert!(browser.read_text().contains("bowline logins approve"));
    browser.inspect_page("no-provider");
}

async fn person_with_a_browser_lets_the_device_in(corp: &TestOrganisation, browser: &TestChromium) {
    let login = corp.start_login(42).await;
    browser.open();
    open_auth_url(corp, browser, &login.id);
    browser.inspect_page("choices");
    prove_person(browser, "kim");
    browser.await_heading("Is this your device?");
    browser.inspect_page("confirm");
    assert!(!browser.read_url().contains("code="), "the code is gone");
    browser.press_button("Let this device in");
    browser.await_heading("The device is in");
    browser.inspect_page("approved");
    let decided = corp.find_login(&login.id).await;
    assert_eq!(decided.state(), LoginState::Approved);

    // The same address again, as from the browser's history.
    browser.go_to(&corp.url(&format!("/register/{}", login.id)));
    browser.await_heading("The device is in");
}

async fn person_without_scripts_turns_the_device_away(
    corp: &TestOrganisation,
    browser: &TestChromium,
) {
    let login = corp.start_login(43).await;
    browser.open_without_scripts();
    open_auth_url(corp, browser, &login.id);
    prove_person(browser, "kim");
    browser.await_heading("Is this your device?");
    browser.press_button("It is not mine");
    browser.await_heading("The device was turned away");
    let decided = corp.find_login(&login.id).await;
    assert_eq!(decided.state(), LoginState::Denied);
    browser.open();
    browser.go_to(&corp.url(&format!("/register/{}", login.id)));
    browser.await_heading("The device was turned away");
    browser.inspect_page("denied");
}

async fn person_without_a_mouse_finds_the_buttons(corp: &TestOrganisation, browser: &TestChromium) {
    let login = corp.start_login(44).await;
    browser.open();
    open_auth_url(corp, browser, &login.id);
    prove_person(browser, "kim");
    browser.await_heading("Is this your device?");
    browser.press_key("Tab");
    assert_eq!(browser.read_focus(), "Let this device in");
    browser.press_key("Tab");
    assert_eq!(browser.read_focus(), "It is not mine");
    browser.press_key("Shift+Tab");
    browser.press_key("Enter");
    browser.await_heading("The device is in");
    let decided = corp.find_login(&login.id).await;
    assert_eq!(decided.state(), LoginState::Approved);
}

async fn whoever_is_refused_is_told_why(corp: &TestOrganisation, browser: &TestChromium) {
    let unknown = format!("/register/{}", "0".repeat(32));
    browser.open();
    assert_eq!(browser.go_to(&corp.url(&unknown)), 404);
    browser.await_heading("Not found");
    browser.inspect_page("not-found");

    assert_eq!(
        browser.go_to(&corp.url("/login/callback?state=x&code=y")),
        403
    );
    browser.await_heading("Cookies are needed");
    browser.inspect_page("no-cookies");

    // This person's address is not verified.
    let login = corp.start_login(45).await;
    open_auth_url(corp, browser, &login.id);
    prove_person(browser, "lou");
    browser.await_heading("You can not log in");
    browser.inspect_page("refused");
}
