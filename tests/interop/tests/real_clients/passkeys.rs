//! Passkeys where they can be had: at a host name with a certificate that the browser trusts.

use bowline_interop::{Host, Server, inside};
use bowline_test_browser::TestChromium;

#[test]
fn owner_has_a_passkey_at_a_name_with_a_certificate_of_a_first_start() {
    let test = "passkeys::owner_has_a_passkey_at_a_name_with_a_certificate_of_a_first_start";
    if inside(test, 0).is_none() {
        return;
    }
    let name = "vpn.bowline.test";
    let server = Server::start_named(Host::here(), name).unwrap();
    let authority = server.authority();
    let Some(browser) = TestChromium::start_trusting(&authority, name, "10.77.0.1") else {
        return;
    };
    let account = format!("{}/admin", server.url);
    let made = server.bowline(&["invitations", "create", "owner@home"]);
    assert_eq!(browser.go_to(made.unwrap()["link"].as_str().unwrap()), 200);
    browser.press_button("Log in");
    browser.await_heading("Your devices");
    browser.add_passkey_device();
    browser.fill_field("Name of the new passkey, such as \"laptop\"", "work laptop");
    browser.press_button("Add a passkey");
    browser.await_button("Remove: work laptop");
    browser.inspect_page("passkey-at-a-name");

    browser.forget_cookies();
    browser.go_to(&account);
    browser.press_button("Log in");
    browser.press_button("Log in with a passkey");
    browser.press_button("Use a passkey");
    browser.await_heading("Your devices");
    let text = browser.read_text();
    assert!(text.contains("owner@home"), "{text}");
    let listed = server.bowline(&["sessions", "list"]).unwrap();
    assert_eq!(listed[0]["by"], "passkey", "{listed}");
}
