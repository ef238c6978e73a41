//! An organisation whose people log in on real clients, by a real provider and a real browser.

use std::{
    fs,
    time::{Duration, Instant},
};

use bowline_interop::{Client, Release, Split, inside, wait_for};
use bowline_providers::{KeycloakAdmin, REALM, SAML_CLASSES, TestBrowser, one_time_code};
use bowline_test_browser::TestChromium;
use bowline_test_servers::{KeycloakServer, choose_size};
use serde_json::{Value, json};

use super::{ECHO, SECOND, SOON, reaches, scim::ask};

/// Two people let their devices in, each by a one-time code that the first login lacked: one by OpenID Connect at the first
/// gateway, one by SAML at the second. What their groups are decides what the devices reach.
#[test]
fn people_of_a_provider_reach_what_their_groups_say_until_they_leave() {
    let name = "organisation::people_of_a_provider_reach_what_their_groups_say_until_they_leave";
    let Some(hosts) = inside(name, 4) else {
        return;
    };
    // One after the other: on a busy machine each has a deadline of its own.
    let split = Split::start().unwrap();
    let mut hosts = hosts.into_iter();
    let mut start = || Client::start(hosts.next().unwrap(), Release::Current, &[]).unwrap();
    let [mut database, laptop, phone, server] = [start(), start(), start(), start()];
    let Some(keycloak) = KeycloakServer::start("corp", REALM).unwrap() else {
        return;
    };
    let Some(browser) = TestChromium::start() else {
        return;
    };
    let corp = Organisation {
        split,
        keycloak,
        browser,
    };
    corp.connect();
    corp.start_database(&mut database);
    let address = database.ipv4().unwrap();

    // A one-time code is asked of members, once it is known that somebody is one.
    corp.let_in_by_openid_connect(&laptop);
    corp.let_in_by_saml(&phone);
    corp.set_policy(&[("group:vpn", 7000)]);
    reaches(&laptop, &address, 7000);
    assert!(
        phone.echo_within(2, &address, 7000, "hello").is_err(),
        "no group"
    );

    for _ in 0..choose_size(0, 1) {
        corp.saml_groups_follow_each_login(&phone, &address);
    }
    corp.openid_connect_groups_follow_when_the_provider_is_asked(&laptop, &address);
    corp.tag_needs_a_role(&server);
    corp.scim_closes_at_once(&laptop, &database);
}

struct Organisation {
    split: Split,
    keycloak: KeycloakServer,
    browser: TestChromium,
}

impl Organisation {
    /// Makes both connections, and the condition that they meet in their own ways.
    fn connect(&self) {
        let admin = self.admin();
        admin.add_client_with_classes("bowline-strong", "secret", "http://10.77.0.1:");
        for group in ["vpn", "netops"] {
            admin.add_group(group);
        }
        for name in ["noa", "mia"] {
            admin.add_person_with_codes(name);
        }
        admin.join("noa", "vpn");
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        let issuer = self.keycloak.issuer();
        let run = |text: &str, more: &[&str]| {
            let words: Vec<_> = text.split(' ').chain(more.iter().copied()).collect();
            self.split.bowline(&words).unwrap()
        };
        run(
            "connections create oidc Corp --client-id bowline-strong --domain corp.example --groups-claim groups \
             --role-group netops=network-admin --refresh-every 1h",
            &[
                "--issuer",
                &issuer,
                "--client-secret-file",
                &secret.display().to_string(),
            ],
        );
        let metadata = format!("{issuer}/protocol/saml/descriptor");
        let saml = run(
            "connections create saml ByCard --domain corp.example --groups-attribute groups",
            &["--metadata-url", &metadata],
        );
        let entity_id = format!("{}/saml/{}/metadata", self.split.url(2), saml["id"]);
        admin.add_saml_service(&TestBrowser::open().get(&entity_id).body);
        admin.give_classes_to_service(&entity_id, "saml");
        run(
            "conditions add --role member --acr gold",
            &["--authn-context", SAML_CLASSES[1]],
        );
    }

    /// Returns an administrator at the provider, whose token lasts for a minute.
    fn admin(&self) -> KeycloakAdmin {
        KeycloakAdmin::log_in(&self.keycloak)
    }

    /// Joins the database at the second gateway.
    fn start_database(&self, client: &mut Client) {
        self.set_policy(&[]);
        let key = ["keys", "create", "--tag", "tag:db"];
        let key = self.split.bowline(&key).unwrap();
        let key = key["secret"].as_str().unwrap();
        client.join(&self.split.url(2), key, "database").unwrap();
        for port in [7000, 7001] {
            client.serve_echo(ECHO, port).unwrap();
        }
    }

    /// Lets groups reach ports of the database, as soon as the compiler knows of the groups.
    fn set_policy(&self, ports: &[(&str, u16)]) {
        let rule = |(group, port): &(&str, u16)| json!({ "action": "accept", "src": [group], "dst": [format!("tag:db:{port}")] });
        let policy = json!({
            "tagOwners": { "tag:db": [], "tag:web": ["autogroup:network-admin"] },
            "acls": ports.iter().map(rule).collect::<Vec<_>>(),
        });
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("policy.hujson");
        fs::write(&file, policy.to_string()).unwrap();
        let file = file.display().to_string();
        wait_for("the policy is in force", SOON, || {
            let set = self.split.bowline(&["policy", "set", &file]);
            set.map_err(|error| error.to_string())
        });
    }

    fn open_auth_url(&self, address: &str) {
        assert_eq!(self.browser.go_to(address), 200);
        self.browser.await_heading("A device wants to join");
    }

    /// Fills in the provider's page that asks for name and password.
    fn prove_password(&self, person: &str) {
        self.browser.await_button("Sign In");
        self.browser.fill_field("Username or email", person);
        self.browser.fill_field("Password", "password");
        self.browser.press_button("Sign In");
    }

    /// Fills in the provider's pages once more, and the code beside the password. Returns when the last was sent.
    fn prove_code(&self) -> Instant {
        self.browser.fill_field("Password", "password");
        self.browser.press_button("Sign In");
        self.browser.fill_field("One-time code", &one_time_code());
        let sent = Instant::now();
        self.browser.press_button("Sign In");
        sent
    }

    fn let_in(&self, client: &Client) {
        self.browser.await_heading("Is this your device?");
        self.browser.press_button("Let this device in");
        self.browser.await_heading("The device is in");
        client.wait_for_state("Running", SOON);
    }

    fn let_in_by_openid_connect(&self, laptop: &Client) {
        let browser = &self.browser;
        let (address, _waiting) = laptop.begin_login(&self.split.url(1), "laptop").unwrap();
        self.open_auth_url(&address);
        browser.press_button("Log in with Corp");
        self.prove_password("noa");
        browser.await_heading("One more step");
        assert_ne!(laptop.state(), "Running");
        browser.press_button("Log in with Corp");
        self.prove_code();
        browser.await_heading("Is this your device?");
        browser.inspect_page("organisation-confirm");
        self.let_in(laptop);
    }

    fn let_in_by_saml(&self, phone: &Client) {
        let browser = &self.browser;
        browser.open();
        let (address, _waiting) = phone.begin_login(&self.split.url(2), "phone").unwrap();
        self.open_auth_url(&address);
        browser.press_button("Log in with ByCard");
        self.prove_password("mia");
        browser.await_heading("One more step");
        browser.press_button("Log in with ByCard");
        self.prove_code();
        self.let_in(phone);
    }

    /// Logs a person of the SAML provider in for a session. Returns when the provider was given the code.
    fn sign_in_by_saml(&self) -> Instant {
        let browser = &self.browser;
        browser.go_to(&format!("{}/admin", self.split.url(2)));
        browser.press_button("Log in");
        browser.press_button("Log in with ByCard");
        browser.await_heading("One more step");
        browser.press_button("Log in with ByCard");
        let sent = self.prove_code();
        browser.await_heading("Your devices");
        sent
    }

    fn saml_groups_follow_each_login(&self, phone: &Client, database: &str) {
        let browser = &self.browser;
        self.admin().join("mia", "vpn");
        let start = self.sign_in_by_saml();
        reaches(phone, database, 7000);
        let took = start.elapsed();
        println!("SAML: from the provider's login to the open port {took:?}");
        browser.press_button("Log out");
        self.admin().leave("mia", "vpn");
        let start = self.sign_in_by_saml();
        let took = closes(phone, database, 7000, start);
        println!("SAML: from the provider's login to the closed port {took:?}");
    }

    /// Has the provider asked about everybody now.
    fn refresh(&self) {
        let asked = self.split.bowline(&["connections", "refresh", "Corp"]);
        assert_eq!(asked.unwrap()["people"], 1);
    }

    fn openid_connect_groups_follow_when_the_provider_is_asked(
        &self,
        laptop: &Client,
        database: &str,
    ) {
        let admin = self.admin();
        let start = Instant::now();
        admin.leave("noa", "vpn");
        let asked = Instant::now();
        self.refresh();
        let took = closes(laptop, database, 7000, asked);
        let whole = asked.duration_since(start) + took;
        println!(
            "OpenID Connect: from leaving the group to the closed port {whole:?}, {took:?} of it from the refresh"
        );
        assert!(laptop.peers().is_empty());
        admin.join("noa", "vpn");
        self.refresh();
        reaches(laptop, database, 7000);
    }

    fn tag_needs_a_role(&self, server: &Client) {
        let browser = &self.browser;
        let tags = ["--advertise-tags=tag:web"];
        let url = self.split.url(1);
        browser.open();
        let (address, waiting) = server.begin_login_with(&url, "server", &tags).unwrap();
        self.open_auth_url(&address);
        browser.press_button("Log in with Corp");
        self.prove_password("noa");
        browser.await_heading("One more step");
        browser.press_button("Log in with Corp");
        self.prove_code();
        browser.await_heading("Is this your device?");
        browser.inspect_page("organisation-refused-tag");
        let text = browser.read_text();
        assert!(
            text.contains("You may not give the tags tag:web")
                && !text.contains("Let this device in"),
            "{text}"
        );
        browser.press_button("It is not mine");
        browser.await_heading("The device was turned away");
        assert_ne!(server.state(), "Running");
        drop(waiting);

        // The role comes with a group, and no code is asked of it.
        self.admin().join("noa", "netops");
        let (address, _waiting) = server.begin_login_with(&url, "server", &tags).unwrap();
        self.open_auth_url(&address);
        browser.press_button("Log in with Corp");
        self.let_in(server);
        let status = server.status().unwrap();
        assert_eq!(status["Self"]["Tags"], json!(["tag:web"]), "{status}");
    }

    fn ask_scim(&self, secret: &str, method: &str, path: &str, body: &Value) -> Value {
        let path = format!("/scim/v2{path}");
        let (status, said) = ask("10.77.0.1:8081", secret, method, &path, &body.to_string());
        assert!(matches!(status, 200 | 201 | 204), "{status} {said}");
        serde_json::from_str(&said).unwrap_or_default()
    }

    fn scim_closes_at_once(&self, laptop: &Client, database: &Client) {
        let create = ["scim-tokens", "create", "--connection", "Corp"];
        let token = self.split.bowline(&create).unwrap();
        let secret = token["secret"].as_str().unwrap();
        let noa = json!({ "schemas": [format!("{SCHEMAS}:User")], "userName": "noa@corp.example" });
        let noa = self.ask_scim(secret, "POST", "/Users", &noa);
        let group = json!({
            "schemas": [format!("{SCHEMAS}:Group")], "displayName": "contractors", "members": [{ "value": noa["id"] }]
        });
        let group = self.ask_scim(secret, "POST", "/Groups", &group);
        self.set_policy(&[("group:vpn", 7000), ("group:contractors", 7001)]);
        let address = database.ipv4().unwrap();
        reaches(laptop, &address, 7001);

        let change = |path: &str, value: &Value, operation: &Value| {
            let schema = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
            let body = json!({ "schemas": [schema], "Operations": [operation] });
            let path = format!("/{path}/{}", value["id"].as_str().unwrap());
            self.ask_scim(secret, "PATCH", &path, &body);
        };
        let start = Instant::now();
        change(
            "Groups",
            &group,
            &json!({ "op": "remove", "path": "members" }),
        );
        let took = closes(laptop, &address, 7001, start);
        println!("SCIM: from leaving the group to the closed port {took:?}");
        reaches(laptop, &address, 7000);

        let start = Instant::now();
        change(
            "Users",
            &noa,
            &json!({ "op": "replace", "path": "active", "value": false }),
        );
        laptop.wait_for_peers(&[], SOON);
        let own = start.elapsed();
        database.wait_for_peers(&[], SOON);
        let told = start.elapsed();
        println!(
            "SCIM: from the deactivation to the cut, {own:?} on the device and {told:?} at its peer"
        );
        assert!(told < SECOND, "told after {told:?}");
        let took = closes(laptop, &address, 7000, start);
        println!("SCIM: from the deactivation to the closed port {took:?}");
    }
}

/// What SCIM calls its kinds of resources.
const SCHEMAS: &str = "urn:ietf:params:scim:schemas:core:2.0";

/// Waits until a port answers no more. Returns how long after a moment the first line was sent that nobody answered.
fn closes(from: &Client, address: &str, port: u16, since: Instant) -> Duration {
    let what = format!("port {port} closes");
    let (sent, _) = wait_for(&what, SOON, || {
        let sent = since.elapsed();
        match from.echo_within(2, address, port, "hello") {
            Ok(_) => Err("it still answers".to_owned()),
            Err(_) => Ok(sent),
        }
    });
    sent
}
